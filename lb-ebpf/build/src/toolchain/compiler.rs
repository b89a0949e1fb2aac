//! The choice between the two routes to a compiler.

use std::{
    env,
    fmt::{self, Display, Formatter},
};

use super::{Debian, Nightly};
use crate::Error;

/// Picks one route instead of the first that works: `nightly` or `debian`.
pub(crate) const ROUTE_VARIABLE: &str = "LB_BPF_TOOLCHAIN";

/// What compiles.
#[derive(Debug)]
pub enum Compiler {
    /// Rustup's nightly.
    Nightly(Nightly),
    /// Debian's rustc-web.
    Debian(Debian),
}

impl Compiler {
    /// The first compiler that works, or the only one that `LB_BPF_TOOLCHAIN` allows.
    ///
    /// # Errors
    /// [`Error::NoCompiler`], [`Error::UnknownRoute`].
    pub fn find() -> Result<Self, Error> {
        let route = Route::chosen()?;
        let mut nightly = None;
        if route != Some(Route::Debian) {
            match Nightly::find() {
                Ok(found) => return Ok(Self::Nightly(found)),
                Err(unfit) => nightly = Some(unfit),
            }
        }
        let mut debian = None;
        if route != Some(Route::Nightly) {
            match Debian::find() {
                Ok(found) => return Ok(Self::Debian(found)),
                Err(unfit) => debian = Some(unfit),
            }
        }
        Err(Error::NoCompiler { nightly, debian })
    }
}

impl Display for Compiler {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly(nightly) => nightly.fmt(f),
            Self::Debian(debian) => debian.fmt(f),
        }
    }
}

/// Where a compiler comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Route {
    Nightly,
    Debian,
}

impl Route {
    fn chosen() -> Result<Option<Self>, Error> {
        let value = env::var_os(ROUTE_VARIABLE).unwrap_or_default();
        Self::parse(&value.to_string_lossy())
    }

    fn parse(value: &str) -> Result<Option<Self>, Error> {
        match value {
            "" => Ok(None),
            "nightly" => Ok(Some(Self::Nightly)),
            "debian" => Ok(Some(Self::Debian)),
            other => Err(Error::UnknownRoute(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_names() {
        assert!(matches!(Route::parse(""), Ok(None)));
        assert!(matches!(Route::parse("debian"), Ok(Some(Route::Debian))));
        assert!(matches!(Route::parse("Debian"), Err(Error::UnknownRoute(_))));
    }
}

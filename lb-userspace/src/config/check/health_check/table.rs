//! A table of health check keys on its way to being checked.

use std::{fmt::Display, ops::Range};

use toml::Spanned;

use crate::config::{
    check::fields::{Checked, fault},
    error::Fault,
    raw,
};

/// What stands in a `health_check` table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Its path, as errors name it.
    pub(super) path: &'static str,
    /// Where it stands.
    pub(super) span: Range<usize>,
    /// Its keys.
    pub(super) raw: raw::HealthCheck,
}

impl Table {
    /// Path of a key.
    pub(super) fn field(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// What is wrong with a key that stands there.
    pub(super) fn fault<T>(&self, at: &Spanned<T>, key: &str, message: impl Display) -> Fault {
        fault(at, &self.field(key), message)
    }

    /// What is wrong with a key that does not stand there.
    pub(super) fn missing(&self, key: &str, message: impl Display) -> Fault {
        Fault { span: self.span.clone(), field: self.field(key), message: message.to_string() }
    }

    /// A key's text as what it means, if the key stands there.
    pub(super) fn parsed<T: std::str::FromStr<Err: Display>>(
        &self,
        at: Option<&Spanned<String>>,
        key: &str,
    ) -> Checked<Option<T>> {
        let parse = |at: &Spanned<String>| {
            let parsed = at.get_ref().parse();
            parsed.map_err(|error| self.fault(at, key, format!("`{}` {error}", at.get_ref())))
        };
        at.map(parse).transpose()
    }
}

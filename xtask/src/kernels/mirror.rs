//! Where Debian's packages come from: the mirror that this machine uses already.

use anyhow::{Context as _, Result};

use super::{quiet::Quiet, series::Suite};

/// The archives' addresses.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Mirror {
    main: String,
    security: String,
}

impl Mirror {
    /// The given mirror, or the one of this machine's apt.
    ///
    /// # Errors
    /// If none is given and apt knows none of Debian.
    pub(super) fn find(given: Option<&str>) -> Result<Self> {
        if let Some(main) = given {
            return Ok(Self::beside(main));
        }
        let targets = Quiet::new("apt-get")
            .with(["indextargets", "--format", "$(LABEL) $(REPO_URI)"])
            .with(["Created-By: Packages", "Origin: Debian"])
            .output()
            .unwrap_or_default();
        Self::of_targets(&targets).context(
            "apt on this machine knows no archive of Debian to take kernels from: name one, as in \
             `cargo xtask kernels --mirror URL`",
        )
    }

    /// Most mirrors have the security archive beside the main one.
    fn beside(main: &str) -> Self {
        let main = main.trim_end_matches('/').to_owned();
        Self { security: format!("{main}-security"), main }
    }

    /// From lines of label and address.
    fn of_targets(targets: &str) -> Option<Self> {
        let labelled = |wanted: &str| {
            targets.lines().find_map(|line| {
                let (label, address) = line.split_once(' ')?;
                (label == wanted).then(|| address.trim_end_matches('/').to_owned())
            })
        };
        let beside = Self::beside(&labelled("Debian")?);
        let security = labelled("Debian-Security").unwrap_or(beside.security);
        Some(Self { security, ..beside })
    }

    /// A line of sources.list(5).
    pub(super) fn line(&self, suite: Suite) -> String {
        let (archive, name) = match suite {
            Suite::Release(name) => (&self.main, name),
            Suite::Security(name) => (&self.security, name),
        };
        // Only the lists of packages: the translations and icons are larger than those.
        format!("deb [signed-by={KEYRING} target=Packages] {archive} {name} main\n")
    }
}

/// Debian's keys, also on distributions that derive from it.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_archives_are_used() {
        let targets = "Debian http://mirror.example/debian/\n\
                       Debian http://mirror.example/debian/\n\
                       Debian-Security http://security.example/updates/\n";
        let mirror = Mirror::of_targets(targets).expect("both are there");
        assert_eq!(mirror.main, "http://mirror.example/debian");
        assert_eq!(mirror.security, "http://security.example/updates");
    }

    #[test]
    fn security_is_beside_the_main_archive_unless_it_is_known() {
        let mirror = Mirror::of_targets("Debian http://mirror.example/debian/").expect("one");
        assert_eq!(mirror, Mirror::beside("http://mirror.example/debian"));
        assert_eq!(mirror.security, "http://mirror.example/debian-security");
        assert_eq!(Mirror::of_targets("Ubuntu http://mirror.example/ubuntu/"), None);
    }
}

//! What setup may do on this machine.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The machine and who we are on it.
pub(super) struct Host {
    distribution: String,
    family: Family,
    user: User,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Debian,
    Other,
}

/// Who runs setup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum User {
    /// May install packages.
    Root,
    /// Has to ask for it.
    Other,
}

impl Host {
    pub(super) fn inspect() -> Self {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let has_apt = Path::new("/usr/bin/apt-get").exists();
        // The owner of /proc/self is the effective user of this process.
        let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        Self {
            distribution: field(&release, "PRETTY_NAME")
                .unwrap_or("an unknown distribution")
                .to_owned(),
            family: if has_apt { family(&release) } else { Family::Other },
            user: if root { User::Root } else { User::Other },
        }
    }

    /// Why setup may not install here, as a sentence that introduces the commands.
    pub(super) fn hindrance(&self) -> Option<String> {
        match (self.family, self.user) {
            (Family::Debian, User::Root) => None,
            (Family::Debian, User::Other) => {
                Some("Nothing was installed, as you are not root. Run:".to_owned())
            }
            (Family::Other, _) => Some(format!(
                "Nothing was installed, as this is {}. Here is what setup runs on Debian and \
                 Ubuntu; install the same packages your way:",
                self.distribution
            )),
        }
    }

    pub(super) fn user(&self) -> User {
        self.user
    }

    /// Whether installing a package starts the services in it.
    pub(super) fn starts_services(&self) -> bool {
        Path::new("/run/systemd/system").is_dir()
    }
}

fn family(release: &str) -> Family {
    let named = |key| field(release, key).unwrap_or_default();
    let mut names = named("ID").split(' ').chain(named("ID_LIKE").split(' '));
    if names.any(|name| name == "debian" || name == "ubuntu") {
        Family::Debian
    } else {
        Family::Other
    }
}

/// A field of os-release(5), without its quotes.
fn field<'a>(release: &'a str, key: &str) -> Option<&'a str> {
    release.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name == key).then(|| value.trim_matches(['"', '\'']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_what_is_like_it_are_known() {
        assert_eq!(family("ID=debian\n"), Family::Debian);
        assert_eq!(family("ID=ubuntu\nID_LIKE=debian\n"), Family::Debian);
        assert_eq!(family("ID=pop\nID_LIKE=\"ubuntu debian\"\n"), Family::Debian);
        assert_eq!(family("ID=fedora\n"), Family::Other);
        assert_eq!(family(""), Family::Other);
    }

    #[test]
    fn fields_lose_their_quotes() {
        let release = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(field(release, "PRETTY_NAME"), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(field(release, "ID"), None);
    }
}

//! Another configuration: from the file, or over the API.

use std::{fs, path::Path};

use super::{
    Daemon,
    memory::{Applied, MemoryError, StateDir},
};
use crate::{
    config::{Config, ConfigError},
    control::{Control, ControlError},
};

/// Why a configuration that came over the API is refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// It cannot be in force.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It would not outlive the daemon.
    #[error("{0}: nothing was changed")]
    Memory(#[from] MemoryError),
}

impl Daemon {
    /// Reads the configuration file again; what lbctl applied is over.
    pub(super) fn reload_file(&mut self) {
        let path = self.config.path.clone();
        let result = read(&path).map_err(ControlError::from).and_then(|text| {
            self.control.reload(Config::parse(&path.display().to_string(), &text)?)?;
            Ok(text)
        });
        match result {
            Ok(text) => {
                self.config.text = text;
                self.config.origin = path.display().to_string();
                self.remember("applied", |state, _| state.set_applied(None));
                self.put_in_force();
                match &self.commit_problem {
                    Some(problem) => tracing::error!(
                        file = %path.display(),
                        problem,
                        "the configuration was read again, but is not in force"
                    ),
                    None => {
                        let reason =
                            format!("the configuration was read again: {}", path.display());
                        self.tell_config("loaded", reason);
                    }
                }
            }
            Err(error) => {
                self.config.refusal = Some(error.to_string());
                self.tell_config("refused", format!("{error}; the one in force stays"));
            }
        }
        self.publish_readiness();
    }

    /// Takes over a configuration that came over the API, until the file changes.
    pub(super) fn apply_text(&mut self, file: &str, text: String) -> Result<(), ApplyError> {
        let config = Config::parse(file, &text).map_err(ControlError::from)?;
        // As it is now: an edit since the daemon read it must not end what is applied after it.
        self.config.text = read(&self.config.path).map_err(ControlError::from)?;
        let instead_of = self.config.text.clone();
        let applied = Applied { file: file.to_owned(), text, instead_of };
        take_over(&mut self.control, &self.state, config, &applied)?;
        self.config.origin = format!("{file}, applied by lbctl");
        self.put_in_force();
        if self.commit_problem.is_none() {
            self.tell_config("loaded", format!("{file} was applied by lbctl"));
        }
        Ok(())
    }

    fn put_in_force(&mut self) {
        self.config.refusal = None;
        self.config.last_success = std::time::SystemTime::now();
        self.hooks.replace(&self.control.config().hooks);
        self.remember("intents", |state, control| state.set_intents(control.intents()));
        self.apply();
    }
}

/// Writes a configuration down and then takes it over, or does neither.
fn take_over(
    control: &mut Control,
    state: &StateDir,
    config: Config,
    applied: &Applied,
) -> Result<(), ApplyError> {
    // First of all, lest a daemon that dies in between leaves what no daemon can start with.
    control.check_reload(&config)?;
    let before = state.applied()?;
    state.set_applied(Some(applied))?;
    if let Err(error) = control.reload(config) {
        state.set_applied(before.as_ref())?;
        return Err(error.into());
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::unreadable(path, &source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Memory;

    const BEFORE: &str = "[daemon]\ninterfaces = [\"eth0\"]\n";
    const SERVICE: &str =
        "[[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\nport = 80\nforward = \"l2\"\n";

    fn apply(
        control: &mut Control,
        directory: &Path,
        text: &str,
    ) -> (Result<(), ApplyError>, StateDir) {
        let state = StateDir::open(directory).expect("free");
        let config = Config::parse("new.toml", text).expect("valid");
        let applied = Applied {
            file: "new.toml".to_owned(),
            text: text.to_owned(),
            instead_of: BEFORE.to_owned(),
        };
        (take_over(control, &state, config, &applied), state)
    }

    fn control() -> Control {
        let config = Config::parse("lb.toml", BEFORE).expect("valid");
        Control::new(config, Memory::default()).expect("room")
    }

    #[test]
    fn what_cannot_be_written_down_is_not_taken_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut control = control();
        fs::create_dir(directory.path().join("applied.json.new")).expect("room");
        let (result, state) = apply(&mut control, directory.path(), &format!("{BEFORE}{SERVICE}"));
        let error = result.expect_err("in the way").to_string();
        assert!(error.ends_with("nothing was changed"), "{error}");
        assert!(control.services().is_empty());
        assert_eq!(state.applied().expect("readable"), None);
    }

    #[test]
    fn what_is_refused_is_not_written_down() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut control = control();
        let (result, state) =
            apply(&mut control, directory.path(), &BEFORE.replace("eth0", "eth1"));
        assert!(matches!(result, Err(ApplyError::Control(ControlError::NeedsRestart(_)))));
        assert_eq!(state.applied().expect("readable"), None);
    }

    #[test]
    fn what_is_taken_over_is_written_down() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut control = control();
        let (result, state) = apply(&mut control, directory.path(), &format!("{BEFORE}{SERVICE}"));
        result.expect("room");
        assert_eq!(control.services().len(), 1);
        let applied = state.applied().expect("readable").expect("written");
        assert_eq!(applied.instead_of, BEFORE);
    }
}

//! Another configuration: from the file, or over the API.

use super::{Daemon, memory::Applied};
use crate::{config::Config, control::ControlError};

impl Daemon {
    /// Reads the configuration file again; what lbctl applied is over.
    pub(super) fn reload_file(&mut self) {
        let path = self.config.path.clone();
        let result = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))
            .and_then(|text| {
                let file = path.display().to_string();
                self.reload(&file, &text).map_err(|error| error.to_string())?;
                Ok(text)
            });
        match result {
            Ok(text) => {
                self.config.text = text;
                self.config.origin = path.display().to_string();
                self.remember("applied", |state, _| state.set_applied(None));
                tracing::info!(file = %path.display(), "the configuration was read again");
            }
            Err(error) => {
                tracing::error!(error, "the configuration is refused; the one in force stays");
                self.config.refusal = Some(error);
            }
        }
        self.publish_readiness();
    }

    /// Takes over a configuration that came over the API, until the file changes.
    pub(super) fn apply_text(&mut self, file: &str, text: String) -> Result<(), ControlError> {
        self.reload(file, &text)?;
        self.config.origin = format!("{file}, applied by lbctl");
        let instead_of = self.config.text.clone();
        let applied = Applied { file: file.to_owned(), text, instead_of };
        self.remember("applied", |state, _| state.set_applied(Some(&applied)));
        Ok(())
    }

    fn reload(&mut self, file: &str, text: &str) -> Result<(), ControlError> {
        let result = Config::parse(file, text)
            .map_err(ControlError::from)
            .and_then(|config| self.control.reload(config));
        if result.is_ok() {
            self.config.refusal = None;
            self.config.last_success = std::time::SystemTime::now();
            self.remember("intents", |state, control| state.set_intents(control.intents()));
        }
        self.apply();
        result
    }
}

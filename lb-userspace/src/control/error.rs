//! Why the control core refuses what an operator asks for.

use crate::{
    config::ConfigError,
    model::{BackendName, ServiceName},
};

/// A refusal. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such service.
    #[error("there is no service `{0}`: see `lbctl service list`")]
    NoService(ServiceName),
    /// No such backend.
    #[error("there is no backend `{0}`: see `lbctl backend list`")]
    NoBackend(BackendName),
    /// Operators have said nothing of the service.
    #[error("nothing was said of service `{0}` with lbctl: it is as the configuration says")]
    NothingSaid(ServiceName),
    /// The service is there already.
    #[error("there is a service `{0}` already")]
    ServiceExists(ServiceName),
    /// Another service has its address, port and protocol.
    #[error("service `{service}`: `{holder}` has this address, port and protocol already")]
    KeyTaken {
        /// The one that is refused.
        service: ServiceName,
        /// The one that is in force.
        holder: ServiceName,
    },
    /// It says something against another service.
    #[error("service `{service}`: {field}: {message}")]
    Clash {
        /// The one that is refused.
        service: ServiceName,
        /// The field that says so.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The backend is there already.
    #[error("there is a backend `{0}` already")]
    BackendExists(BackendName),
    /// The address cannot be a backend's.
    #[error("`{0}` cannot be a backend: {1}")]
    BadBackend(BackendName, crate::model::BadBackend),
    /// A configuration has an error.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// More than the tables hold.
    #[error("{0}")]
    Capacity(String),
    /// What cannot be changed without a restart.
    #[error("daemon.{0} cannot change while lbd runs: restart it with the new configuration")]
    NeedsRestart(&'static str),
}

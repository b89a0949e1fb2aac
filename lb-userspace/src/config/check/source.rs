//! `[service.source]`

use toml::Spanned;

use super::fields::{Checked, fault};
use crate::{
    config::{error::Fault, raw},
    model::SourceConfig,
};

pub(super) fn source(raw: Spanned<raw::Source>) -> Checked<SourceConfig> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let missing = |key: &str, what: &str| Fault {
        span: whole.clone(),
        field: format!("service.source.{key}"),
        message: format!("is missing: {what}"),
    };
    match raw.kind.get_ref().as_str() {
        "file" => {
            if raw.endpoints.is_some() || raw.prefix.is_some() {
                return Err(fault(&raw.kind, "service.source", "a file has nothing but a path"));
            }
            let path = raw.path.ok_or_else(|| missing("path", "where the file is"))?;
            Ok(SourceConfig::File { path })
        }
        "etcd" => {
            if raw.path.is_some() {
                return Err(fault(&raw.kind, "service.source.path", "etcd has no path"));
            }
            let endpoints = raw.endpoints.ok_or_else(|| missing("endpoints", "etcd's URLs"))?;
            if endpoints.is_empty() {
                return Err(missing("endpoints", "name at least one URL"));
            }
            for endpoint in &endpoints {
                let url = endpoint.get_ref();
                if !url.starts_with("http://") {
                    let message = "must be a URL that starts with http:// (TLS is not available)";
                    return Err(fault(endpoint, "service.source.endpoints", message));
                }
            }
            let prefix = raw.prefix.ok_or_else(|| missing("prefix", "what the keys start with"))?;
            if prefix.get_ref().is_empty() {
                let message = "must not be empty: every key of the etcd would be a backend";
                return Err(fault(&prefix, "service.source.prefix", message));
            }
            Ok(SourceConfig::Etcd {
                endpoints: endpoints.into_iter().map(Spanned::into_inner).collect(),
                prefix: prefix.into_inner(),
            })
        }
        _ => Err(fault(&raw.kind, "service.source.type", "must be \"file\" or \"etcd\"")),
    }
}

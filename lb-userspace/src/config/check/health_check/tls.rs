//! Keys of all checks that are encrypted.

use tokio_rustls::rustls::pki_types::ServerName;
use toml::Spanned;

use super::table::Table;
use crate::{
    config::{
        check::fields::{Checked, number},
        error::Fault,
    },
    model::{GrpcProbe, TlsOptions},
};

/// Most days that a certificate can be asked to last.
const MOST_DAYS: u32 = 3650;

/// How a table wants TLS.
pub(super) fn tls(table: &Table) -> Checked<TlsOptions> {
    let raw = &table.raw;
    let usual = TlsOptions::default();
    let verify = raw.verify.as_ref().map_or(usual.verify, |verify| *verify.get_ref());
    if let Some(at) = &raw.ca_file {
        if !verify {
            return Err(table.fault(at, "ca_file", "nobody asks it with verify = false"));
        }
        if !at.get_ref().is_absolute() {
            return Err(table.fault(at, "ca_file", "must be an absolute path"));
        }
    }
    if let Some(at) = &raw.server_name
        && ServerName::try_from(at.get_ref().as_str()).is_err()
    {
        let message = format!("`{}` cannot stand in a certificate", at.get_ref());
        return Err(table.fault(at, "server_name", message));
    }
    let days = |raw| number(Some(raw), &table.field("certificate_days"), 1, MOST_DAYS, 1);
    Ok(TlsOptions {
        verify,
        ca_file: raw.ca_file.as_ref().map(|file| file.get_ref().clone()),
        server_name: raw.server_name.as_ref().map(|name| name.get_ref().clone()),
        certificate_days: raw.certificate_days.clone().map(days).transpose()?,
    })
}

/// What a table asks of gRPC.
pub(super) fn grpc(table: &Table) -> Checked<GrpcProbe> {
    let raw = &table.raw;
    let is_secure = raw.tls.as_ref().is_some_and(|tls| *tls.get_ref());
    let idle = [
        ("verify", raw.verify.as_ref().map(Spanned::span)),
        ("ca_file", raw.ca_file.as_ref().map(Spanned::span)),
        ("server_name", raw.server_name.as_ref().map(Spanned::span)),
        ("certificate_days", raw.certificate_days.as_ref().map(Spanned::span)),
    ];
    if !is_secure && let Some((key, Some(span))) = idle.into_iter().find(|(_, at)| at.is_some()) {
        return Err(Fault {
            span,
            field: table.field(key),
            message: "needs tls = true".to_owned(),
        });
    }
    Ok(GrpcProbe {
        service: raw.grpc_service.as_ref().map_or_else(String::new, |name| name.get_ref().clone()),
        tls: is_secure.then(|| tls(table)).transpose()?,
    })
}

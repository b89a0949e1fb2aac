//! `send`, `expect` and their hexadecimal sisters.

use super::table::Table;
use crate::{
    config::check::fields::Checked,
    model::{Expect, hex_bytes},
};

/// What is sent; empty if nothing is.
pub(super) fn send(table: &Table) -> Checked<Vec<u8>> {
    match (&table.raw.send, &table.raw.send_hex) {
        (Some(_), Some(at)) => Err(table.fault(at, "send_hex", "`send` says already what is sent")),
        (Some(text), None) => Ok(text.get_ref().clone().into_bytes()),
        (None, Some(at)) => {
            hex_bytes(at.get_ref()).map_err(|error| table.fault(at, "send_hex", error))
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// What must come back, if anything.
pub(super) fn expect(table: &Table) -> Checked<Option<Expect>> {
    let (text, hex) = (table.raw.expect.as_ref(), table.raw.expect_hex.as_ref());
    if let (Some(_), Some(at)) = (text, hex) {
        return Err(table.fault(at, "expect_hex", "`expect` says already what is expected"));
    }
    let text = table.parsed(text, "expect")?.map(Expect::Matches);
    let hex = table.parsed(hex, "expect_hex")?.map(Expect::Begins);
    Ok(text.or(hex))
}

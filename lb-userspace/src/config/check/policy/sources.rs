//! `allow` and `deny`

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use toml::Spanned;

use crate::{
    config::check::fields::{Checked, fault},
    model::Vip,
};

type List = Option<Spanned<Vec<Spanned<String>>>>;

/// The prefixes that are allowed (true) and denied, each once.
pub(super) fn sources(allow: List, deny: List, vip: Vip) -> Checked<BTreeMap<IpNet, bool>> {
    let mut sources = BTreeMap::new();
    for (list, field, is_allowed) in [(allow, "service.allow", true), (deny, "service.deny", false)]
    {
        let Some(list) = list else { continue };
        if list.get_ref().is_empty() {
            let meaning = if is_allowed { "all are allowed" } else { "nobody is denied" };
            return Err(fault(&list, field, format!("names nobody: without it {meaning}")));
        }
        for text in list.into_inner() {
            let prefix = source(&text, field, vip)?;
            let lists = match sources.insert(prefix, is_allowed) {
                None => continue,
                Some(true) if is_allowed => "allow twice",
                Some(false) if !is_allowed => "deny twice",
                Some(_) => "allow and in deny",
            };
            return Err(fault(&text, field, format!("`{prefix}` is in {lists}")));
        }
    }
    Ok(sources)
}

fn source(text: &Spanned<String>, field: &str, vip: Vip) -> Checked<IpNet> {
    let shown = text.get_ref();
    let refused = |problem: &str| Err(fault(text, field, format!("`{shown}` {problem}")));
    let address = shown.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    let Ok(prefix) = address.or_else(|_| shown.parse::<IpNet>()) else {
        return refused("is not an IPv4 or IPv6 address or prefix");
    };
    if prefix.addr() != prefix.network() {
        return refused(&format!("has bits behind the prefix: write {}", prefix.trunc()));
    }
    if prefix.addr().is_ipv6() != vip.is_ipv6() {
        return refused("is of another IP version than the service, as no client of it is");
    }
    if prefix.addr().is_ipv6() && prefix.addr().to_canonical().is_ipv4() {
        return refused("is an IPv4 prefix: write it as one");
    }
    Ok(prefix)
}

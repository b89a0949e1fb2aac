//! One long download, compared byte by byte.

use std::net::SocketAddr;

use lb_tests::{
    clock, content,
    report::{DownloadLine, Failure},
};

use crate::{
    DownloadArguments,
    exchange::{self, Fault},
    ledger::print,
    source::address_towards,
};

pub(crate) async fn run(arguments: DownloadArguments) -> anyhow::Result<()> {
    // The kernel chooses the port: from a range that the loads do not use.
    let local = SocketAddr::new(address_towards(arguments.target)?, 0);
    let started_ms = clock::now_ms();
    match load(local, &arguments).await {
        Ok(bytes) => print(&DownloadLine::Complete { bytes }),
        Err(fault) => print(&DownloadLine::Broken(Failure {
            started_ms,
            after_ms: clock::now_ms() - started_ms,
            local,
            reason: fault.reason,
            detail: fault.detail,
        })),
    }
}

async fn load(local: SocketAddr, arguments: &DownloadArguments) -> Result<u64, Fault> {
    let DownloadArguments { target, bytes, seconds } = arguments;
    let path = format!("/download?bytes={bytes}&seconds={seconds}");
    let answer = exchange::get(*target, local, &path).await?;
    if answer.length != *bytes {
        return Err(Fault::wrong(&format!("{} bytes announced, {bytes} wanted", answer.length)));
    }
    let backend = answer.backend.clone();
    let local = answer.stream.local_addr()?;
    print(&DownloadLine::Started { backend, local })
        .map_err(|error| Fault::wrong(&error.to_string()))?;
    answer
        .read(|offset, piece| match content::first_difference(offset, piece) {
            Some(at) => Err(Fault::wrong(&format!("byte {at} is not what was sent"))),
            None => Ok(()),
        })
        .await
}

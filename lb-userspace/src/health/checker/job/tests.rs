use std::{net::IpAddr, os::fd::BorrowedFd, sync::Arc};

use lb_common::Forward;

use super::*;
use crate::{
    health::{CheckFlow, Steer},
    model::Probe,
};

#[derive(Debug)]
struct Here;

impl Steer for Here {
    fn steer(&self, _: BorrowedFd<'_>, _: &CheckFlow) -> io::Result<()> {
        Ok(())
    }
}

/// Has a tunnel to one backend.
#[derive(Debug)]
struct OneTunnel(IpAddr);

impl Tunnels for OneTunnel {
    fn to(
        &self,
        backend: IpAddr,
        forward: Forward,
        vip: IpAddr,
    ) -> io::Result<(IpAddr, Arc<dyn Steer>)> {
        assert_eq!((forward, vip), (Forward::Gue, address("10.200.0.1")));
        if backend == self.0 {
            Ok((address("192.0.2.1"), Arc::new(Here)))
        } else {
            Err(io::Error::other("no room for another backend"))
        }
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn target(tunnel: Option<&str>) -> Target {
    let mut check = HealthCheck::new(Probe::Tcp, 80);
    check.source = Some(address("192.0.2.9"));
    Target {
        backend: "web/10.0.0.1".parse().expect("a name"),
        generation: 1,
        check,
        destination: "10.200.0.1:80".parse().expect("an address"),
        tunnel: tunnel.map(|backend| TunnelTo { backend: address(backend), forward: Forward::Gue }),
    }
}

#[test]
fn a_tunnel_says_where_from_and_how() {
    let tunnels = OneTunnel(address("10.0.0.1"));
    let through = target(Some("10.0.0.1")).endpoint(Some(&tunnels)).expect("a tunnel");
    assert_eq!(through.remote, "10.200.0.1:80".parse().expect("an address"));
    assert_eq!(through.source, Some(address("192.0.2.1")));
    assert!(through.steer.is_some());
}

#[test]
fn without_tunnels_the_backends_own_address_is_asked() {
    let direct = target(Some("10.0.0.1")).endpoint(None).expect("a way");
    assert_eq!(direct.remote, "10.0.0.1:80".parse().expect("an address"));
    assert_eq!((direct.source, direct.steer.is_none()), (Some(address("192.0.2.9")), true));
    let tunnels = OneTunnel(address("10.0.0.1"));
    let untouched = target(None).endpoint(Some(&tunnels)).expect("a way");
    assert_eq!(untouched.remote, "10.200.0.1:80".parse().expect("an address"));
    assert!(untouched.steer.is_none());
}

#[tokio::test]
async fn a_tunnel_that_cannot_be_had_is_not_the_backends_fault() {
    let tunnels = Some(Arc::new(OneTunnel(address("10.0.0.1"))) as Arc<dyn Tunnels>);
    let means = Means { tunnels: tunnels.into(), pinger: Pinger::default() };
    let result = target(Some("10.0.0.2")).ask(&means).await;
    let why = result.outcome.expect_err("no tunnel");
    assert!(why.is_local(), "{why:?}");
    assert!(why.to_string().contains("no room for another backend"), "{why}");
}

//! A gRPC server as a backend, which says of itself how it is.

use std::net::TcpListener;

use lb_tests::{Host, Lbctl, address::Family};
use tokio::runtime::Runtime;
use tonic::transport::server::{Server, TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    certificates::Authority,
    check, config,
    servers::{self, put},
    target, until_down, until_up,
};
use crate::site::{
    Site,
    config::{Config, Service},
};

const PORT: u16 = 50_051;

/// A server that knows the service `web`. It ends when this is dropped.
struct GrpcServer {
    reporter: HealthReporter,
    runtime: Runtime,
}

impl GrpcServer {
    /// Starts it, under all addresses of the host.
    fn start(host: &Host) -> Self {
        let listener = host.enter(|| TcpListener::bind(("::", PORT))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let server = Server::builder().add_service(health);
            server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        });
        let server = Self { reporter, runtime };
        server.say(ServingStatus::Serving);
        server
    }

    /// From now on `web` is like this.
    fn say(&self, status: ServingStatus) {
        self.runtime.block_on(self.reporter.set_service_status("web", status));
    }
}

fn keys(service: &str) -> String {
    format!("port = {PORT}\ngrpc_service = \"{service}\"")
}

#[test]
fn a_grpc_server_is_judged_by_its_word() {
    /// HTTP/2 of nginx towards the balancer, with TLS.
    const BLOCK: &str = "
        server {
            listen 8443 ssl http2;
            ssl_certificate site.pem;
            ssl_certificate_key site.pem;
            location / { grpc_pass grpc://127.0.0.1:50051; }
        }
        server { listen 8080; return 204; }";
    let mut site = Site::new(1);
    let (backend, balancer) = (site.topology.backend(1), &site.topology.balancer);
    let authority = Authority::new();
    put(backend, "/run/nginx/site.pem", &authority.issue("grpc.test", 90));
    put(balancer, "/run/ca.pem", &authority.pem);
    let server = GrpcServer::start(backend);
    let _nginx = servers::nginx(backend, 8443, BLOCK);
    let tls = "port = 8443\ngrpc_service = \"web\"\ntls = true\nserver_name = \"grpc.test\"\n\
               ca_file = \"/run/ca.pem\"";
    site.start(&config([
        ("web", check("grpc", &keys("web"))),
        ("whole", check("grpc", &format!("port = {PORT}"))),
        ("unknown", check("grpc", &keys("nobody"))),
        ("encrypted", check("grpc", tls)),
        // It speaks HTTP/1.1 there.
        ("no-grpc", check("grpc", "port = 8080")),
    ]));
    until_up(&site, &["web", "whole", "encrypted"]);
    until_down(&site, "unknown", "gRPC status 5 NOT_FOUND", "L7STS");
    until_down(&site, "no-grpc", "bad HTTP/2", "L7RSP");

    server.say(ServingStatus::NotServing);
    until_down(&site, "web", "it says NOT_SERVING", "L7STS");
    until_down(&site, "encrypted", "it says NOT_SERVING", "L7STS");
    // Only one of its services is not served.
    until_up(&site, &["whole"]);
    server.say(ServingStatus::Unknown);
    until_down(&site, "web", "it says UNKNOWN", "L7STS");
    server.say(ServingStatus::Serving);
    until_up(&site, &["web", "encrypted"]);

    drop(server);
    until_down(&site, "web", "connect was refused", "L4CON");
    until_down(&site, "encrypted", "HTTP status 502 Bad Gateway", "L7STS");
}

/// As tunnels lead there, so do checks.
#[test]
fn a_grpc_server_is_asked_through_the_tunnel() {
    let service = |name, port, forward| {
        let service = Service::tcp(name, target(port)).to(Family::V4, 1..=1);
        service.forwarded(forward).table("health_check", &check("grpc", &keys("web")))
    };
    let mut site = Site::new(1);
    let server = GrpcServer::start(site.topology.backend(1));
    site.open_tunnels();
    site.start(&Config::of([service("ipip", 80, "ipip"), service("gue", 81, "gue")]));
    until_up(&site, &["ipip", "gue"]);
    server.say(ServingStatus::NotServing);
    for service in ["ipip", "gue"] {
        until_down(&site, service, "it says NOT_SERVING", "L7STS");
    }
    server.say(ServingStatus::Serving);
    until_up(&site, &["ipip", "gue"]);

    // The server stays, the way does not.
    Lbctl::new(site.topology.backend(1)).unwrap().run(&["decap", "detach", "eth0"]).unwrap();
    for service in ["ipip", "gue"] {
        until_down(&site, service, "connect timed out", "L4TOUT");
    }
}

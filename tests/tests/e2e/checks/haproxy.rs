//! HAProxy as a backend: HTTP, TLS, and TCP with words.

use super::{
    certificates::Authority,
    check, config,
    servers::{self, put},
    until_down, until_up,
};
use crate::site::Site;

/// In front of the server at port 80 of the same host.
const SECTIONS: &str = "
backend pool
    server web 10.0.1.11:80 check inter 100ms rise 2 fall 2
frontend plain
    bind :8080
    monitor-uri /health
    monitor fail if { nbsrv(pool) eq 0 }
    default_backend pool
frontend secure
    bind :8443 ssl crt /run/haproxy/site.pem
    default_backend pool
";

#[test]
fn haproxy_is_judged_by_what_it_says_of_its_servers() {
    let mut site = Site::new(1);
    let (backend, balancer) = (site.topology.backend(1), &site.topology.balancer);
    let authority = Authority::new();
    put(backend, "/run/haproxy/site.pem", &authority.issue("web.test", 90));
    put(balancer, "/run/ca.pem", &authority.pem);
    let _haproxy = servers::haproxy(backend, 8080, SECTIONS);
    let trusted = "server_name = \"web.test\"\nca_file = \"/run/ca.pem\"";
    let words = r#"send = "GET /health HTTP/1.0\r\n\r\n"
                   expect = "^HTTP/1\\.[01] 200 ""#;
    site.start(&config([
        ("monitor", check("http", "port = 8080\npath = \"/health\"\nstatus = 200")),
        ("pool", check("http", "port = 8080\nbody = \"^be1\"")),
        ("pool-over-tls", check("https", &format!("port = 8443\nbody = \"^be1\"\n{trusted}"))),
        ("words", check("tcp", &format!("port = 8080\n{words}"))),
        ("tls", check("tls", &format!("port = 8443\n{trusted}"))),
        ("no-tls", check("tls", "port = 8080\nverify = false")),
    ]));
    until_up(&site, &["monitor", "pool", "pool-over-tls", "words", "tls"]);
    until_down(&site, "no-tls", "TLS failed: what came is not TLS", "L6RSP");

    site.kill_server(1);
    for service in ["monitor", "pool", "pool-over-tls"] {
        until_down(&site, service, "status 503 Service Unavailable, expected 200", "L7STS");
    }
    until_down(&site, "words", "expected ^HTTP/1", "L7RSP");
    // HAProxy itself is well.
    until_up(&site, &["tls"]);
    site.start_server(1);
    until_up(&site, &["monitor", "pool", "pool-over-tls", "words"]);
}

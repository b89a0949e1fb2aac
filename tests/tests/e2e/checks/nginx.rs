//! nginx as a backend: HTTP and HTTPS, versions 1.1 and 2.

use std::fs;

use super::{
    certificates::{Authority, self_signed},
    check, config,
    servers::{self, NGINX, put},
    until_down, until_up,
};
use crate::site::Site;

/// What nginx serves as long as it is there.
const HEALTH: &str = "/run/nginx/www/health";

#[test]
fn nginx_is_judged_by_host_status_and_body() {
    const BLOCKS: &str = "
        server { listen 8080 default_server; return 404; }
        server {
            listen 8080;
            server_name health.test;
            root www;
            location = /health { try_files /health =503; }
        }";
    let keys = |host| {
        format!(
            "port = 8080\npath = \"/health\"\nhost = \"{host}\"\nstatus = \"200-299\"\n\
             body = \"all is (well|fine)\""
        )
    };
    let mut site = Site::new(1);
    put(site.topology.backend(1), HEALTH, "all is well\n");
    let nginx = servers::nginx(site.topology.backend(1), 8080, BLOCKS);
    site.start(&config([
        ("right", check("http", &keys("health.test"))),
        ("stray", check("http", &keys("other.test"))),
    ]));
    until_up(&site, &["right"]);
    until_down(&site, "stray", "status 404 Not Found, expected 200-299", "L7STS");

    fs::remove_file(site.topology.backend(1).path(HEALTH)).unwrap();
    let why = "status 503 Service Unavailable, expected 200-299";
    until_down(&site, "right", why, "L7STS");
    put(site.topology.backend(1), HEALTH, "all is fine\n");
    until_up(&site, &["right"]);
    put(site.topology.backend(1), HEALTH, "all is lost\n");
    until_down(&site, "right", "but the body lacks all is (well|fine)", "L7RSP");
    put(site.topology.backend(1), HEALTH, "all is well\n");
    until_up(&site, &["right"]);
    nginx.kill();
    until_down(&site, "right", "connect was refused", "L4CON");
}

/// nginx at four ports: with a certificate of its own, with one that somebody has issued for a long
/// and for a short time, and without HTTP/2.
fn blocks() -> String {
    let server = |port: u16, options: &str, certificate: &str| {
        format!(
            "server {{
                listen {port} ssl{options};
                ssl_certificate {NGINX}/{certificate}.pem;
                ssl_certificate_key {NGINX}/{certificate}.pem;
                location = /version {{ return 200 $server_protocol; }}
            }}"
        )
    };
    [
        server(8441, " http2", "own"),
        server(8442, " http2", "long"),
        server(8443, " http2", "short"),
        server(8444, "", "long"),
    ]
    .concat()
}

#[test]
fn certificates_and_versions_of_nginx_are_judged() {
    let mut site = Site::new(1);
    let (backend, balancer) = (site.topology.backend(1), &site.topology.balancer);
    let authority = Authority::new();
    let (own, key) = self_signed("web.test");
    put(backend, "/run/nginx/own.pem", &(own.clone() + &key));
    put(backend, "/run/nginx/long.pem", &authority.issue("web.test", 90));
    put(backend, "/run/nginx/short.pem", &authority.issue("web.test", 10));
    put(balancer, "/run/own.pem", &own);
    put(balancer, "/run/ca.pem", &authority.pem);
    let _nginx = servers::nginx(backend, 8441, &blocks());

    let https = |port: u16, keys: &str| {
        check("https", &format!("port = {port}\npath = \"/version\"\nstatus = 200\n{keys}"))
    };
    let trusted = |file, name, keys: &str| {
        format!("ca_file = \"/run/{file}.pem\"\nserver_name = \"{name}\"\n{keys}")
    };
    let checks = [
        ("own", https(8441, &trusted("own", "web.test", ""))),
        ("issued", https(8442, &trusted("ca", "web.test", "body = \"^HTTP/1.1$\""))),
        ("two", https(8442, &trusted("ca", "web.test", "http = \"2\"\nbody = \"^HTTP/2.0$\""))),
        ("one-only", https(8444, &trusted("ca", "web.test", "http = \"2\""))),
        ("other-name", https(8442, &trusted("ca", "other.test", ""))),
        ("own-other-name", https(8441, &trusted("own", "other.test", ""))),
        ("stranger", https(8442, &trusted("own", "web.test", ""))),
        ("anybody", https(8441, "verify = false")),
        ("soon", https(8443, &trusted("ca", "web.test", "certificate_days = 30"))),
        ("in-time", https(8442, &trusted("ca", "web.test", "certificate_days = 30"))),
    ];
    site.start(&config(checks));
    until_up(&site, &["own", "issued", "two", "anybody", "in-time"]);
    for (service, why) in [
        ("other-name", "TLS failed: the certificate is not for other.test"),
        ("own-other-name", "TLS failed: the certificate is not for other.test"),
        ("stranger", "TLS failed: the certificate was issued by nobody who is trusted"),
        ("soon", "TLS failed: the certificate expires in 9 days, less than 30"),
        ("one-only", "TLS failed: the server refuses: NoApplicationProtocol"),
    ] {
        until_down(&site, service, why, "L6RSP");
    }
}

//! What the rules for Gateways say.

use serde_json::{Value, json};

use super::each_says_one_thing;

#[test]
fn gateway_servers() {
    let server = |members: Value| {
        let mut server =
            json!({"hosts": ["a.com"], "port": {"number": 80, "name": "http", "protocol": "HTTP"}});
        for (name, value) in members.as_object().unwrap() {
            server[name] = value.clone();
        }
        json!({"selector": {"istio": "ingressgateway"}, "servers": [server]})
    };
    let https = |tls: Value| {
        server(json!({"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "tls": tls}))
    };
    each_says_one_thing(
        "Gateway",
        [
            (
                server(json!({"hosts": ["*", "./a.com", "*/b.com", "ns/*.c.com"]})),
                "",
            ),
            (json!({}), "spec.servers: a gateway needs a server"),
            (
                server(json!({"hosts": []})),
                "spec.servers[0].hosts: a server needs a host",
            ),
            (
                server(json!({"hosts": ["reviews"]})),
                "spec.servers[0].hosts[0]: \"reviews\" is a short name",
            ),
            (
                server(json!({"hosts": ["~/a.com"]})),
                "spec.servers[0].hosts[0]: not a namespace",
            ),
            (
                server(json!({"port": null})),
                "spec.servers[0].port: a server needs a port",
            ),
            (
                server(json!({"bind": "here"})),
                "spec.servers[0].bind: \"here\" is neither",
            ),
            (
                server(json!({"bind": "unix:///run/x"})),
                "spec.servers[0].port.number: a Unix domain socket has no port",
            ),
            (
                server(json!({"tls": {"mode": "SIMPLE"}})),
                "spec.servers[0].tls: a server of plain HTTP",
            ),
            (server(json!({"tls": {"httpsRedirect": true}})), ""),
            (
                https(json!(null)),
                "spec.servers[0].tls: a server of protocol HTTPS or TLS must have",
            ),
            (https(json!({"mode": "SIMPLE", "credentialName": "s"})), ""),
            (
                https(json!({"mode": "SIMPLE", "privateKey": "k"})),
                "spec.servers[0].tls.serverCertificate: is needed",
            ),
            (
                https(json!({"mode": "ISTIO_MUTUAL", "credentialName": "s"})),
                "spec.servers[0].tls.credentialName: cannot stand",
            ),
            (
                https(json!({"credentialName": "s"})),
                "IST0133 spec.servers[0].tls.credentialName: has no use",
            ),
            (
                https(json!({"mode": "SIMPLE", "credentialName": "s", "cipherSuites": ["x"]})),
                "IST0133 spec.servers[0].tls.cipherSuites[0]",
            ),
        ],
    );
}

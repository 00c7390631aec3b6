//! The keys and certificates of a cluster, made by openssl, and the files that lead users to the API server.
//!
//! One authority signs all: who trusts it is told apart by name and group, as everywhere in Kubernetes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::layout::{self, Places};

/// Of no certificate is more asked than to outlive a test.
const DAYS: &str = "365";

/// Settings of openssl that add nothing to what the command line says.
const SETTINGS: &str = "[req]\nprompt = no\ndistinguished_name = name\n[name]\n";

/// The user that may do everything.
pub(super) const ADMIN: &str = "admin";

/// Makes everything that `nodes` nodes need, and what leads `outside` (host and port) to the API server.
pub(super) fn make(places: &Places, nodes: u8, outside: &str) -> Result<()> {
    let directory = places.key("");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let settings = places.key("openssl.cnf");
    fs::write(&settings, SETTINGS).with_context(|| format!("write {}", settings.display()))?;
    authority(places)?;
    let names = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
                 DNS:kubernetes.default.svc.cluster.local";
    let addresses = format!("IP:127.0.0.1,IP:{},IP:{}", layout::FIRST_SERVICE, layout::HUB);
    issue(places, "apiserver", "/CN=kube-apiserver", Some(&format!("{names},{addresses}")))?;
    issue(places, "accounts", "/CN=service-accounts", None)?;
    let inside = layout::API.to_string();
    for (user, subject) in [
        (ADMIN, "/O=system:masters/CN=admin"),
        ("controller-manager", "/CN=system:kube-controller-manager"),
        ("scheduler", "/CN=system:kube-scheduler"),
        ("proxy", "/CN=system:kube-proxy"),
        ("dns", "/O=system:masters/CN=dns"),
    ] {
        issue(places, user, subject, None)?;
        kubeconfig(places, user, if user == ADMIN { outside } else { &inside })?;
    }
    for number in 1..=nodes {
        let name = layout::node_name(number);
        let subject = format!("/O=system:nodes/CN=system:node:{name}");
        issue(places, &name, &subject, None)?;
        kubeconfig(places, &name, &inside)?;
        let names = format!("DNS:{name},IP:{}", layout::node_address(number));
        issue(places, &format!("{name}-server"), &format!("/CN={name}"), Some(&names))?;
    }
    Ok(())
}

fn authority(places: &Places) -> Result<()> {
    let mut command = request(places, "ca", "/CN=ottla-e2e");
    command.args(["-addext", "basicConstraints=critical,CA:TRUE"]);
    command.args(["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]);
    run(&mut command)
}

/// A key, and its certificate: that of a server where it has `names`, otherwise that of a client.
fn issue(places: &Places, file: &str, subject: &str, names: Option<&str>) -> Result<()> {
    let mut command = request(places, file, subject);
    command.arg("-CA").arg(places.key("ca.crt")).arg("-CAkey").arg(places.key("ca.key"));
    let usage = if names.is_some() { "serverAuth" } else { "clientAuth" };
    command.args(["-addext", "keyUsage=critical,digitalSignature"]);
    command.arg("-addext").arg(format!("extendedKeyUsage={usage}"));
    if let Some(names) = names {
        command.arg("-addext").arg(format!("subjectAltName={names}"));
    }
    run(&mut command)
}

fn request(places: &Places, file: &str, subject: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    command.arg("-config").arg(places.key("openssl.cnf"));
    command.arg("-keyout").arg(places.key(&format!("{file}.key")));
    command.arg("-out").arg(places.key(&format!("{file}.crt")));
    command.args(["-days", DAYS, "-subj", subject]);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("run openssl, of Debian's package openssl")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(())
}

/// What leads `user` to the API server at `server` (host and port).
fn kubeconfig(places: &Places, user: &str, server: &str) -> Result<()> {
    let path = places.kubeconfig(user);
    let key = |kind: &str| places.key(&format!("{user}.{kind}"));
    let text = describe(server, &places.key("ca.crt"), &key("crt"), &key("key"));
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

fn describe(server: &str, authority: &Path, certificate: &Path, key: &Path) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: e2e\n\
         clusters:\n- name: e2e\n  cluster:\n    server: https://{server}\n    \
         certificate-authority: {}\n\
         users:\n- name: e2e\n  user:\n    client-certificate: {}\n    client-key: {}\n\
         contexts:\n- name: e2e\n  context:\n    cluster: e2e\n    user: e2e\n",
        authority.display(),
        certificate.display(),
        key.display(),
    )
}

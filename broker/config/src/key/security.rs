//! TLS, SASL, tokens and access lists.
//!
//! Names, types, ranges and defaults are facts of Kafka 3.9; see the header of the table.

use super::{Key, Kind, Limit, Scope, Status};

const ACL_Y: Status = Status::NotServedYet(
    "access lists are not checked yet: leave the key out and keep listeners on a trusted network",
);
const CLS: Status = Status::NeverServed("Java classes cannot be loaded: remove the key");
const ENC: Status = Status::NoEffect("no password is kept in ZooKeeper");
const ENC_N: Status = Status::NoEffect("no password is kept in ZooKeeper");
const SASL: Status =
    Status::NotServedYet("SASL is not served yet: keep PLAINTEXT listeners on a trusted network");
const SASL_N: Status = Status::NoEffect("SASL is not served yet");
const SIBP: Status = Status::NotServedYet("only PLAINTEXT is served yet: leave the key out");
const TLS: Status =
    Status::NotServedYet("TLS is not served yet: keep PLAINTEXT listeners on a trusted network");
const TLS_N: Status = Status::NoEffect("TLS is not served yet");

pub(super) const KEYS: &[Key] = &[
    Key::new("authorizer.class.name", Kind::String, "Java class that decides who may do what.")
        .default("")
        .status(ACL_Y),
    Key::new(
        "connection.failed.authentication.delay.ms",
        Kind::Int,
        "Wait before a connection that failed to authenticate is closed.",
    )
    .default("100")
    .limit(Limit::AtLeast(0))
    .status(SASL_N),
    Key::new(
        "connections.max.reauth.ms",
        Kind::Long,
        "Longest time between two authentications of a connection.",
    )
    .default("0")
    .status(SASL_N),
    Key::new(
        "delegation.token.expiry.check.interval.ms",
        Kind::Long,
        "Interval of the search for expired delegation tokens.",
    )
    .default("3600000")
    .limit(Limit::AtLeast(1))
    .status(SASL_N),
    Key::new(
        "delegation.token.expiry.time.ms",
        Kind::Long,
        "Life of a delegation token between renewals.",
    )
    .default("86400000")
    .limit(Limit::AtLeast(1))
    .status(SASL_N),
    Key::new(
        "delegation.token.master.key",
        Kind::Password,
        "Old name of delegation.token.secret.key.",
    )
    .status(SASL),
    Key::new("delegation.token.max.lifetime.ms", Kind::Long, "Longest life of a delegation token.")
        .default("604800000")
        .limit(Limit::AtLeast(1))
        .status(SASL_N),
    Key::new("delegation.token.secret.key", Kind::Password, "Secret that signs delegation tokens.")
        .status(SASL),
    Key::new(
        "password.encoder.cipher.algorithm",
        Kind::String,
        "Cipher of passwords kept in ZooKeeper.",
    )
    .default("AES/CBC/PKCS5Padding")
    .status(ENC_N),
    Key::new("password.encoder.iterations", Kind::Int, "Iterations of the key derivation.")
        .default("4096")
        .limit(Limit::AtLeast(1024))
        .status(ENC_N),
    Key::new("password.encoder.key.length", Kind::Int, "Length of the key.")
        .default("128")
        .limit(Limit::AtLeast(8))
        .status(ENC_N),
    Key::new("password.encoder.keyfactory.algorithm", Kind::String, "Key derivation.")
        .status(ENC_N),
    Key::new(
        "password.encoder.old.secret",
        Kind::Password,
        "Previous secret, while it is replaced.",
    )
    .status(ENC),
    Key::new(
        "password.encoder.secret",
        Kind::Password,
        "Secret that encrypts passwords kept in ZooKeeper.",
    )
    .status(ENC),
    Key::new(
        "principal.builder.class",
        Kind::Class,
        "Java class that names the client of a connection.",
    )
    .default("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder")
    .scope(Scope::PerBroker)
    .status(CLS),
    Key::new(
        "sasl.client.callback.handler.class",
        Kind::Class,
        "Java class of the client side of SASL.",
    )
    .status(SASL_N),
    Key::new("sasl.enabled.mechanisms", Kind::List, "SASL mechanisms that are offered.")
        .default("GSSAPI")
        .scope(Scope::PerBroker)
        .status(SASL_N),
    Key::new("sasl.jaas.config", Kind::Password, "Login of a SASL listener.")
        .scope(Scope::PerBroker)
        .status(SASL),
    Key::new("sasl.kerberos.kinit.cmd", Kind::String, "Path of kinit.")
        .default("/usr/bin/kinit")
        .scope(Scope::PerBroker)
        .status(SASL_N),
    Key::new(
        "sasl.kerberos.min.time.before.relogin",
        Kind::Long,
        "Shortest time between Kerberos logins.",
    )
    .default("60000")
    .scope(Scope::PerBroker)
    .status(SASL_N),
    Key::new(
        "sasl.kerberos.principal.to.local.rules",
        Kind::List,
        "Rules from Kerberos principals to names.",
    )
    .default("DEFAULT")
    .scope(Scope::PerBroker)
    .status(SASL_N),
    Key::new("sasl.kerberos.service.name", Kind::String, "Kerberos service name.")
        .scope(Scope::PerBroker)
        .status(SASL_N),
    Key::new("sasl.kerberos.ticket.renew.jitter", Kind::Double, "Randomness of ticket renewal.")
        .default("0.05")
        .scope(Scope::PerBroker)
        .status(SASL_N),
    Key::new(
        "sasl.kerberos.ticket.renew.window.factor",
        Kind::Double,
        "Share of a ticket's life before renewal.",
    )
    .default("0.8")
    .scope(Scope::PerBroker)
    .status(SASL_N),
    Key::new("sasl.login.callback.handler.class", Kind::Class, "Java class of the SASL login.")
        .status(SASL_N),
    Key::new("sasl.login.class", Kind::Class, "Java class of the login itself.").status(SASL_N),
    Key::new("sasl.login.connect.timeout.ms", Kind::Int, "Timeout to reach the identity provider.")
        .status(SASL_N),
    Key::new(
        "sasl.login.read.timeout.ms",
        Kind::Int,
        "Timeout to hear from the identity provider.",
    )
    .status(SASL_N),
    Key::new(
        "sasl.login.refresh.buffer.seconds",
        Kind::Short,
        "Time before expiry at which a login is renewed.",
    )
    .default("300")
    .scope(Scope::PerBroker)
    .status(SASL_N),
    Key::new(
        "sasl.login.refresh.min.period.seconds",
        Kind::Short,
        "Shortest time between renewals.",
    )
    .default("60")
    .scope(Scope::PerBroker)
    .status(SASL_N),
    Key::new(
        "sasl.login.refresh.window.factor",
        Kind::Double,
        "Share of a credential's life before renewal.",
    )
    .default("0.8")
    .scope(Scope::PerBroker)
    .status(SASL_N),
    Key::new("sasl.login.refresh.window.jitter", Kind::Double, "Randomness of that share.")
        .default("0.05")
        .scope(Scope::PerBroker)
        .status(SASL_N),
    Key::new("sasl.login.retry.backoff.max.ms", Kind::Long, "Longest wait between login attempts.")
        .default("10000")
        .status(SASL_N),
    Key::new("sasl.login.retry.backoff.ms", Kind::Long, "First wait between login attempts.")
        .default("100")
        .status(SASL_N),
    Key::new("sasl.mechanism.inter.broker.protocol", Kind::String, "SASL mechanism among brokers.")
        .default("GSSAPI")
        .scope(Scope::PerBroker)
        .status(SASL_N),
    Key::new(
        "sasl.oauthbearer.clock.skew.seconds",
        Kind::Int,
        "Tolerated clock difference to the token's issuer.",
    )
    .default("30")
    .status(SASL_N),
    Key::new("sasl.oauthbearer.expected.audience", Kind::List, "Audience that a token must name.")
        .status(SASL_N),
    Key::new("sasl.oauthbearer.expected.issuer", Kind::String, "Issuer that a token must name.")
        .status(SASL_N),
    Key::new(
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        Kind::Long,
        "Interval of reading the issuer's keys again.",
    )
    .default("3600000")
    .status(SASL_N),
    Key::new(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        Kind::Long,
        "Longest wait between attempts to read them.",
    )
    .default("10000")
    .status(SASL_N),
    Key::new(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        Kind::Long,
        "First wait between attempts to read them.",
    )
    .default("100")
    .status(SASL_N),
    Key::new("sasl.oauthbearer.jwks.endpoint.url", Kind::String, "Where the issuer's keys are.")
        .status(SASL_N),
    Key::new("sasl.oauthbearer.scope.claim.name", Kind::String, "Claim that holds the scope.")
        .default("scope")
        .status(SASL_N),
    Key::new("sasl.oauthbearer.sub.claim.name", Kind::String, "Claim that holds the subject.")
        .default("sub")
        .status(SASL_N),
    Key::new("sasl.oauthbearer.token.endpoint.url", Kind::String, "Where tokens are issued.")
        .status(SASL_N),
    Key::new(
        "sasl.server.callback.handler.class",
        Kind::Class,
        "Java class of the server side of SASL.",
    )
    .status(SASL_N),
    Key::new("sasl.server.max.receive.size", Kind::Int, "Largest SASL message.")
        .default("524288")
        .status(SASL_N),
    Key::new(
        "security.inter.broker.protocol",
        Kind::String,
        "What brokers speak among themselves.",
    )
    .default("PLAINTEXT")
    .limit(Limit::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]))
    .status(SIBP),
    Key::new("security.providers", Kind::String, "Java security providers.").status(CLS),
    Key::new(
        "ssl.allow.dn.changes",
        Kind::Boolean,
        "Whether a renewed certificate may change its name.",
    )
    .default("false")
    .status(TLS_N),
    Key::new(
        "ssl.allow.san.changes",
        Kind::Boolean,
        "Whether a renewed certificate may change its alternative names.",
    )
    .default("false")
    .status(TLS_N),
    Key::new("ssl.cipher.suites", Kind::List, "Cipher suites that are offered.")
        .default("")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new("ssl.client.auth", Kind::String, "Whether clients must show a certificate.")
        .default("none")
        .limit(Limit::OneOf(&["required", "requested", "none"]))
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.enabled.protocols", Kind::List, "TLS versions that are offered.")
        .default("TLSv1.2,TLSv1.3")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new(
        "ssl.endpoint.identification.algorithm",
        Kind::String,
        "How a server's name is checked.",
    )
    .default("https")
    .scope(Scope::PerBroker)
    .status(TLS_N),
    Key::new("ssl.engine.factory.class", Kind::Class, "Java class that makes TLS engines.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.key.password", Kind::Password, "Password of the private key.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.keymanager.algorithm", Kind::String, "Java key manager.")
        .default("SunX509")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new("ssl.keystore.certificate.chain", Kind::Password, "Certificate chain as PEM.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.keystore.key", Kind::Password, "Private key as PEM.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.keystore.location", Kind::String, "File of the key store.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.keystore.password", Kind::Password, "Password of the key store.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.keystore.type", Kind::String, "Format of the key store.")
        .default("JKS")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new(
        "ssl.principal.mapping.rules",
        Kind::String,
        "Rules from certificate names to principals.",
    )
    .default("DEFAULT")
    .status(TLS_N),
    Key::new("ssl.protocol", Kind::String, "TLS version to start from.")
        .default("TLSv1.3")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new("ssl.provider", Kind::String, "Java provider of TLS.")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new("ssl.secure.random.implementation", Kind::String, "Java source of randomness.")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new("ssl.trustmanager.algorithm", Kind::String, "Java trust manager.")
        .default("PKIX")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new("ssl.truststore.certificates", Kind::Password, "Trusted certificates as PEM.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.truststore.location", Kind::String, "File of the trust store.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.truststore.password", Kind::Password, "Password of the trust store.")
        .scope(Scope::PerBroker)
        .status(TLS),
    Key::new("ssl.truststore.type", Kind::String, "Format of the trust store.")
        .default("JKS")
        .scope(Scope::PerBroker)
        .status(TLS_N),
    Key::new("super.users", Kind::String, "Principals that every access list lets through.")
        .status(ACL_Y),
    Key::new(
        "allow.everyone.if.no.acl.found",
        Kind::Boolean,
        "Whether a resource without an access list is open.",
    )
    .default("false")
    .status(ACL_Y),
];

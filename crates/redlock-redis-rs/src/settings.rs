//! Converts a URL to settings of redis-rs, and sets the defaults of connections.

use std::time::Duration;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use redlock_core::backend::{NodeAddress, NodeUrl, UrlFeatures};

/// The features that this crate was built with.
pub(crate) const FEATURES: UrlFeatures = UrlFeatures {
    tls: cfg!(feature = "tls"),
    sentinel: cfg!(feature = "sentinel"),
    cluster: cfg!(feature = "cluster"),
};

/// The settings for connecting to the servers of a URL.
pub(crate) struct Settings {
    /// For servers; with the address, if there is only one.
    pub(crate) server: ConnectionInfo,
    /// For sentinels, which have another login.
    pub(crate) sentinel: ConnectionInfo,
}

impl Settings {
    /// Converts the settings of a URL. `secure` completes the TLS settings.
    pub(crate) fn of(
        url: &NodeUrl,
        secure: impl Fn(ConnectionInfo) -> RedisResult<ConnectionInfo>,
    ) -> RedisResult<Self> {
        let at = |host: String, port, tls| match tls {
            false => ConnectionAddr::Tcp(host, port),
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let address = match url.address.clone() {
            NodeAddress::Tcp { host, port, tls } => at(host, port, tls),
            NodeAddress::Unix(path) => ConnectionAddr::Unix(path.into()),
            // The address of each server replaces this one.
            NodeAddress::Sentinel { tls, .. } | NodeAddress::Cluster { tls, .. } => at(String::new(), 0, tls),
            other => return Err((redis::ErrorKind::InvalidClientConfig, "unknown address", other.to_string()).into()),
        };
        let tcp = TcpSettings::default().set_nodelay(true);
        let tcp = url.keepalive.into_iter().fold(tcp, kept_alive);
        let info = secure(address.into_connection_info()?.set_tcp_settings(tcp))?;
        Ok(Self {
            server: info
                .clone()
                .set_redis_settings(login(url.user.as_deref(), url.password.as_deref()).set_db(url.db.into())),
            sentinel: info.set_redis_settings(login(url.sentinel_user.as_deref(), url.sentinel_password.as_deref())),
        })
    }
}

fn login(user: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let login = user.into_iter().fold(RedisConnectionInfo::default(), RedisConnectionInfo::set_username);
    password.into_iter().fold(login, RedisConnectionInfo::set_password)
}

/// Returns the same settings for the server at this host and port.
pub(crate) fn at(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let address = match info.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}

/// Returns the client with keepalive, unless its settings already have one.
pub(crate) fn with_default_keepalive(client: Client) -> Client {
    let info = client.get_connection_info();
    let tcp = info.tcp_settings();
    if tcp.keepalive().is_some() {
        return client;
    }
    let tcp = kept_alive(tcp.clone(), NodeUrl::DEFAULT_KEEPALIVE);
    Client::open(info.clone().set_tcp_settings(tcp)).unwrap_or(client)
}

/// Sets keepalive such that a dead server is noticed after twice the idle time.
fn kept_alive(tcp: TcpSettings, idle: Duration) -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(idle);
    #[cfg(any(target_os = "android", target_os = "linux", target_os = "macos", target_os = "windows"))]
    let keepalive = keepalive.with_interval((idle / 3).max(Duration::from_secs(1)));
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let tcp = match tcp.user_timeout() {
        None => tcp.set_user_timeout(2 * idle),
        Some(_) => tcp,
    };
    tcp.set_keepalive(keepalive)
}

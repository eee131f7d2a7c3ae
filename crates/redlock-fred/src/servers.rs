//! Derives the connectors to the servers of a cluster, to sentinels, and to the servers behind them.

use fred::types::config::{Config, Server, ServerConfig};
#[cfg(feature = "tls")]
use fred::{bytes_utils::Str, types::config::TlsHostMapping};

use crate::connection::Connector;

impl Connector {
    /// Returns a connector with the same settings to the server at this host and port.
    pub(crate) fn at(&self, host: &str, port: u16) -> Self {
        self.to(Server::new(host, port))
    }

    /// Returns a connector with the same settings to the member of the cluster at this host and port.
    pub(crate) fn member(&self, host: &str, port: u16) -> Self {
        #[cfg(feature = "tls")]
        let server = Server { tls_server_name: self.tls_name(host), ..Server::new(host, port) };
        #[cfg(not(feature = "tls"))]
        let server = Server::new(host, port);
        self.to(server)
    }

    /// Returns the name that the configuration gives to an address, for its certificate.
    #[cfg(feature = "tls")]
    fn tls_name(&self, host: &str) -> Option<Str> {
        let address = host.parse().ok()?;
        let default = self.config().server.hosts().into_iter().next()?.host;
        match &self.config().tls.as_ref()?.hostnames {
            TlsHostMapping::None => None,
            TlsHostMapping::DefaultHost => Some(default),
            TlsHostMapping::Custom(names) => names.map(&address, &default).map(Str::from),
        }
    }

    fn to(&self, server: Server) -> Self {
        self.with(Config { server: ServerConfig::Centralized { server }, ..self.config().clone() })
    }

    /// Returns a connector with the login to the sentinels, which have no databases.
    pub(crate) fn of_sentinels(&self) -> Self {
        let config = Config { database: None, ..self.config().clone() };
        #[cfg(feature = "sentinel")]
        let config = match &self.config().server {
            ServerConfig::Sentinel { username, password, .. } => {
                Config { username: username.clone(), password: password.clone(), ..config }
            }
            _ => config,
        };
        self.with(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(config: Config) -> Connector {
        Connector::new(config, None)
    }

    fn server(connector: &Connector) -> Server {
        connector.config().server.hosts().remove(0)
    }

    #[cfg(feature = "sentinel")]
    #[test]
    fn sentinels_have_a_login_of_their_own_and_no_database() {
        let mut config =
            Config::from_url("redis-sentinel://user:p@a/3?sentinelServiceName=s&sentinelPassword=q").unwrap();
        config.database = Some(3);
        let connector = connector(config);
        let sentinel = connector.of_sentinels().at("a", 7);
        let config = sentinel.config();
        assert_eq!((config.username.as_deref(), config.password.as_deref(), config.database), (None, Some("q"), None));
        let primary = connector.at("b", 8);
        let config = primary.config();
        assert_eq!(
            (config.username.as_deref(), config.password.as_deref(), config.database),
            (Some("user"), Some("p"), Some(3))
        );
        assert_eq!((server(&sentinel), server(&primary)), (Server::new("a", 7), Server::new("b", 8)));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn the_certificate_of_a_member_is_checked_for_the_name_that_the_configuration_gives_to_its_address() {
        use fred::types::config::{TlsConfig, TlsConnector};
        use rustls::{ClientConfig, RootCertStore, crypto::ring};

        let tls = ClientConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        for (hostnames, name) in [(TlsHostMapping::None, None), (TlsHostMapping::DefaultHost, Some("seed"))] {
            let tls = TlsConfig { connector: TlsConnector::from(tls.clone()), hostnames };
            let config =
                Config { server: ServerConfig::new_clustered(vec![("seed", 1)]), tls: Some(tls), ..Config::default() };
            let connector = connector(config);
            assert_eq!(server(&connector.member("10.0.0.1", 7)).tls_server_name.as_deref(), name);
            assert_eq!(server(&connector.member("member", 7)).tls_server_name, None, "it has a name");
        }
    }
}

//! Where the server is and who we are. In: a kubeconfig and a context, or the account of the pod. Out: the client's
//! own configuration, with every way refused that would run a program or trust anybody.

use std::path::PathBuf;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, NamedCluster};

use super::super::files;
use super::error::KubeError;

/// Largest kubeconfig, in bytes; certificates stand in it.
const KUBECONFIG_BYTES_MAX: usize = 1 << 20;

/// How a server is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The service account of the pod; its token is read again as it is renewed.
    InCluster,
    /// A kubeconfig, and one of its contexts; without one, the current context.
    Kubeconfig { path: PathBuf, context: Option<String> },
}

impl Access {
    /// The client's configuration, and the file whose token travels with each request. The client would read that
    /// file once a minute and send its last line break along.
    pub(super) async fn config(&self) -> Result<(Config, Option<PathBuf>), KubeError> {
        let mut config = match self {
            Self::InCluster => Config::incluster().map_err(|source| KubeError::Access {
                what: "the service account of this pod",
                source: source.into(),
            })?,
            Self::Kubeconfig { path, context } => {
                let unusable = |source| KubeError::Access { what: "the kubeconfig", source };
                // The client reads the file itself, because paths in it are relative to it; here it is bounded.
                files::read_bounded(path, KUBECONFIG_BYTES_MAX).map_err(|source| unusable(source.into()))?;
                let file = Kubeconfig::read_from(path).map_err(|source| unusable(source.into()))?;
                let is_given =
                    |it: &NamedCluster| it.cluster.as_ref().is_some_and(|it| it.proxy_url.is_some());
                if file.clusters.iter().any(is_given) {
                    return Err(KubeError::Unsafe("it names a proxy, which tars does not speak to"));
                }
                let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                let config = Config::from_custom_kubeconfig(file, &options).await;
                config.map_err(|source| unusable(source.into()))?
            }
        };
        refuse_the_unsafe(&config)?;
        config.connect_timeout = Some(super::TIMEOUT);
        // Settings are resolved in one place; a variable of the environment is not that place.
        config.proxy_url = None;
        // A request is never sent twice behind the caller's back.
        config.default_retry = false;
        let token_file = config.auth_info.token_file.take().filter(|_| config.auth_info.token.is_none());
        Ok((config, token_file.map(PathBuf::from)))
    }
}

fn refuse_the_unsafe(config: &Config) -> Result<(), KubeError> {
    let who = &config.auth_info;
    if who.exec.is_some() || who.auth_provider.is_some() {
        return Err(KubeError::Unsafe("it runs a program to get a credential; name a token file instead"));
    }
    if config.accept_invalid_certs {
        return Err(KubeError::Unsafe(
            "insecure-skip-tls-verify is set; name the certificate authority instead",
        ));
    }
    let host = config.cluster_url.host().unwrap_or_default();
    let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if config.cluster_url.scheme_str() != Some("https") && !is_loopback {
        return Err(KubeError::Unsafe("its server is not an https address"));
    }
    Ok(())
}

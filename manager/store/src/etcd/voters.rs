//! Who votes in etcd, and who of them answers.

use super::endpoint::Endpoint;
use super::failover::{Endpoints, Repeat};
use super::fault::Fault;
use crate::api::Voter;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The members as they were last listed, with connections to those that no configured endpoint
/// leads to.
#[derive(Default)]
pub(super) struct Members {
    known: Mutex<Vec<Member>>,
    others: Mutex<BTreeMap<String, Arc<Endpoint>>>,
}

#[derive(Debug, Clone)]
struct Member {
    name: String,
    /// The address it gives to clients; empty if it never started.
    url: String,
}

impl Members {
    /// All voters. Members of which nothing is known yet are named by the configured addresses.
    pub(super) async fn voters(&self, endpoints: &Endpoints) -> Vec<Voter> {
        let listed = endpoints.call(Repeat::Freely, list).await;
        let members = match listed {
            Ok((members, _)) => {
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = members.clone();
                members
            }
            Err(_) => self
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        };
        let members = if members.is_empty() {
            configured(endpoints)
        } else {
            members
        };
        let asked = members.into_iter().map(|member| {
            let endpoint = self.endpoint(endpoints, &member.url);
            ask(member, endpoint, endpoints.deadline)
        });
        join_all(asked).await
    }

    fn endpoint(&self, endpoints: &Endpoints, url: &str) -> Option<Arc<Endpoint>> {
        if url.is_empty() {
            return None;
        }
        let configured = endpoints
            .all
            .iter()
            .find(|endpoint| bare(&endpoint.url) == bare(url));
        if let Some(endpoint) = configured {
            return Some(endpoint.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = others
            .entry(url.to_owned())
            .or_insert_with(|| Arc::new(Endpoint::new(url.to_owned())));
        Some(endpoint.clone())
    }
}

async fn list(endpoint: Arc<Endpoint>) -> Result<Vec<Member>, Fault> {
    let response = endpoint
        .admin()
        .await?
        .member_list()
        .await
        .map_err(Fault::of)?;
    let voters = response
        .members()
        .iter()
        .filter(|member| !member.is_learner());
    let member = |member: &etcd_client::Member| Member {
        name: if member.name().is_empty() {
            format!("not started ({:x})", member.id())
        } else {
            member.name().to_owned()
        },
        url: member.client_urls().first().cloned().unwrap_or_default(),
    };
    Ok(voters.map(member).collect())
}

fn configured(endpoints: &Endpoints) -> Vec<Member> {
    let member = |endpoint: &Arc<Endpoint>| Member {
        name: endpoint.url.clone(),
        url: endpoint.url.clone(),
    };
    endpoints.all.iter().map(member).collect()
}

async fn ask(member: Member, endpoint: Option<Arc<Endpoint>>, bound: Duration) -> Voter {
    let status = async {
        let Some(endpoint) = endpoint else {
            return false;
        };
        let Ok(mut client) = endpoint.admin().await else {
            return false;
        };
        client.status().await.is_ok()
    };
    let healthy = tokio::time::timeout(bound, status).await.unwrap_or(false);
    Voter {
        name: member.name,
        endpoint: member.url,
        healthy,
    }
}

/// An address without its scheme and final slash.
fn bare(url: &str) -> &str {
    let url = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
        .unwrap_or(url);
    url.trim_end_matches('/')
}

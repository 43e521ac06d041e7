//! What an error of etcd says about the call: was it done, may it be tried elsewhere.

use crate::api::StoreError;
use holdfast_model::id::Revision;
use std::error::Error as _;
use tonic::{Code, ConnectError, Status};

/// How one attempt on one endpoint failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was certainly not carried out: never sent, or refused before it was proposed.
    NotDone(String),
    /// It may have been, or may still be.
    Unknown(String),
    /// Every endpoint would say the same. Not carried out.
    Final(StoreError),
}

impl Fault {
    /// Sorts an error of the client.
    pub(super) fn of(error: etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::of_status(&status),
            etcd_client::Error::InvalidArgs(why) | etcd_client::Error::EndpointError(why) => {
                Self::Final(StoreError::Refused(why))
            }
            etcd_client::Error::InvalidUri(why) => {
                Self::Final(StoreError::Refused(why.to_string()))
            }
            other => Self::Unknown(other.to_string()),
        }
    }

    /// Messages are those of etcd's `rpctypes` (the same since 3.3).
    fn of_status(status: &Status) -> Self {
        let text = status.message();
        if is_connect_error(status) {
            return Self::NotDone(format!("cannot connect: {text}"));
        }
        match status.code() {
            // From the check at the call's entry (`require_leader`), before anything is proposed.
            Code::Unavailable if text == "etcdserver: no leader" => Self::NotDone(text.into()),
            Code::ResourceExhausted if text == "etcdserver: too many requests" => {
                Self::NotDone(text.into())
            }
            Code::OutOfRange if text.contains("required revision has been compacted") => {
                Self::Final(StoreError::Compacted(Revision(0)))
            }
            Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated => {
                Self::Final(StoreError::Refused(text.into()))
            }
            // Among these "database space exceeded": the write that fills the quota is carried out
            // and answered with this error all the same.
            _ => Self::Unknown(text.into()),
        }
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        match self {
            Self::NotDone(text) | Self::Unknown(text) => advise(text),
            Self::Final(error) => error.to_string(),
        }
    }
}

/// What to do about errors that an operator has to mend.
fn advise(text: &str) -> String {
    if text.contains("database space exceeded") {
        return format!(
            "{text}: etcd is full; compact and defragment it (`etcdctl compact`, `etcdctl \
             defrag`), then `etcdctl alarm disarm`, and turn automatic compaction on"
        );
    }
    text.to_owned()
}

/// The connection was never made, so nothing was sent.
fn is_connect_error(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, text: &str) -> Fault {
        Fault::of(etcd_client::Error::GRpcStatus(Status::new(code, text)))
    }

    #[test]
    fn only_what_was_certainly_not_done_is_called_so() {
        assert!(matches!(
            of(Code::Unavailable, "etcdserver: no leader"),
            Fault::NotDone(_)
        ));
        for unsure in [
            of(Code::Unavailable, "etcdserver: request timed out"),
            of(Code::Unavailable, "transport error"),
            of(Code::Unavailable, "etcdserver: server stopped"),
            of(
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            of(Code::Cancelled, "operation was canceled"),
            of(Code::Unknown, "anything new"),
        ] {
            assert!(matches!(unsure, Fault::Unknown(_)), "{unsure:?}");
        }
    }

    #[test]
    fn a_full_store_says_what_to_do() {
        let full = of(
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        );
        assert!(full.text().contains("alarm disarm"), "{}", full.text());
    }
}

//! What guests reach: it answers as a test says, and keeps what it was asked.

use super::{log, name};
use holdfast_extension_host::Reach;
use holdfast_extension_host::outside::{Method, Request, Response, Web, WebError};
use holdfast_model::extension::Rights;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Answers as it is told, and keeps what it was asked.
pub struct Outside<Q, A> {
    pub answer: A,
    asked: Mutex<Vec<Q>>,
}

impl<Q, A> Outside<Q, A> {
    pub fn new(answer: A) -> Arc<Self> {
        Arc::new(Self {
            answer,
            asked: Mutex::default(),
        })
    }

    pub fn asked(&self, question: Q) {
        self.asked.lock().expect("no panic").push(question);
    }

    pub fn taken(&self) -> Vec<Q> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

pub type Answered = Result<Response, WebError>;

impl Web for Outside<Request, Answered> {
    fn send(&self, request: &Request, _: Instant) -> Answered {
        self.asked(request.clone());
        self.answer.clone()
    }
}

pub fn response(status: u16, body: &str) -> Answered {
    Ok(Response {
        status,
        body: body.to_owned(),
    })
}

pub fn request(target: &str, method: Method, path: &str, body: Option<&str>) -> Vec<Request> {
    vec![Request {
        about: "a golden guest".to_owned(),
        target: name(target),
        method,
        path: path.to_owned(),
        body: body.map(str::to_owned),
    }]
}

/// Of one role, bound to a name of the operator's.
pub fn on_web(web: &Arc<Outside<Request, Answered>>, role: &str, bound: &str) -> Reach {
    let requests = ["GET /*".to_owned(), "POST /*".to_owned()].into();
    Reach {
        about: "a golden guest".to_owned(),
        rights: Rights {
            http: [(name(role), requests)].into(),
            ..log()
        },
        bound: [(name(role), name(bound))].into(),
        web: Some(web.clone()),
        ..Reach::default()
    }
}

//! The service against boards that answer from a table.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Answers by "METHOD path"; remembers what was asked.
struct Board {
    answers: BTreeMap<String, Result<Response, Error>>,
    asked: RefCell<Vec<String>>,
}

const ONE: &str = "/redfish/v1/Systems/1";

impl Board {
    fn new() -> Self {
        let mut board = Self {
            answers: BTreeMap::new(),
            asked: RefCell::default(),
        };
        board.set(
            "GET /redfish/v1/Systems",
            200,
            r#"{"Members": [{"@odata.id": "/redfish/v1/Systems/1/"}]}"#,
        );
        board.power("On");
        board.set(
            "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
            204,
            "",
        );
        board
    }

    fn set(&mut self, request: &str, status: u16, body: &str) {
        let body = body.to_owned();
        let answer = Ok(Response { status, body });
        self.answers.insert(request.to_owned(), answer);
    }

    fn power(&mut self, state: &str) {
        self.set(
            &format!("GET {ONE}"),
            200,
            &format!(r#"{{"PowerState": "{state}"}}"#),
        );
    }

    fn service(
        &self,
        system: Option<&'static str>,
    ) -> Service<'static, impl FnMut(Method, &str, Option<&str>) -> Result<Response, Error>> {
        Service::new(system, |method, path, body| {
            let request = format!("{method} {path}");
            let body = body.unwrap_or_default();
            self.asked
                .borrow_mut()
                .push(format!("{request} {body}").trim().to_owned());
            match self.answers.get(&request) {
                Some(Ok(response)) => Ok(response.clone()),
                Some(Err(error)) => Err(error.clone()),
                None => Ok(Response {
                    status: 404,
                    body: String::new(),
                }),
            }
        })
    }

    fn off(&self) -> Ordered {
        self.service(None).order(Wanted::Off, "ForceOff")
    }
}

#[test]
fn it_finds_the_system_and_switches_it_off_once() {
    let mut board = Board::new();
    assert!(matches!(board.off(), Ordered::Accepted));
    assert_eq!(
        *board.asked.borrow(),
        [
            "GET /redfish/v1/Systems",
            "GET /redfish/v1/Systems/1",
            "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset {\"ResetType\":\"ForceOff\"}",
        ]
    );
    board.power("Off");
    assert!(matches!(board.off(), Ordered::Already));
    assert_eq!(board.asked.borrow().len(), 5, "no second order");
    assert!(matches!(board.service(None).power(), Power::Off));
    board.power("On");
    assert!(matches!(board.service(None).power(), Power::On));
}

#[test]
fn what_is_between_on_and_off_is_neither() {
    let mut board = Board::new();
    for state in ["PoweringOff", "PoweringOn", "Paused", "", "off"] {
        board.power(state);
        assert!(
            matches!(board.service(Some("1")).power(), Power::Unknown(_)),
            "{state}"
        );
        // Off is ordered all the same.
        assert!(matches!(board.off(), Ordered::Accepted), "{state}");
    }
    board.set(&format!("GET {ONE}"), 200, "{}");
    assert!(matches!(
        board.service(Some("1")).power(),
        Power::Unknown(_)
    ));
    board.set(&format!("GET {ONE}"), 200, "<html>");
    assert!(matches!(board.off(), Ordered::Refused(why) if why.contains("no JSON")));
}

#[test]
fn a_board_with_several_systems_wants_to_be_told_which() {
    let mut board = Board::new();
    board.set(
        "GET /redfish/v1/Systems",
        200,
        r#"{"Members": [{"@odata.id": "/redfish/v1/Systems/1"}, {"@odata.id": "/x"}]}"#,
    );
    assert!(matches!(board.off(), Ordered::Refused(why) if why.contains("set `system`")));
    let told = board.service(Some("1")).order(Wanted::Off, "ForceOff");
    assert!(matches!(told, Ordered::Accepted));
    board.set("GET /redfish/v1/Systems", 200, r#"{"Members": []}"#);
    assert!(matches!(board.off(), Ordered::Refused(_)));
}

#[test]
fn the_board_says_where_and_how() {
    let mut board = Board::new();
    board.set(
        &format!("GET {ONE}"),
        200,
        r##"{"PowerState": "On", "Actions": {"#ComputerSystem.Reset": {
            "target": "/redfish/v1/Systems/1/reset",
            "ResetType@Redfish.AllowableValues": ["On", "ForceOff"]}}}"##,
    );
    board.set("POST /redfish/v1/Systems/1/reset", 202, "{}");
    assert!(matches!(board.off(), Ordered::Accepted));
    let odd = board.service(None).order(Wanted::Off, "PushPowerButton");
    assert!(matches!(odd, Ordered::Refused(why) if why.ends_with("it has On, ForceOff")));
}

#[test]
fn an_order_whose_answer_is_lost_may_have_been_done() {
    let post = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
    let mut board = Board::new();
    let lost = Err(Error::Unanswered("5 s".to_owned()));
    board.answers.insert(post.to_owned(), lost);
    assert!(matches!(board.off(), Ordered::Unknown(_)));
    let down = Err(Error::Unreachable("refused".to_owned()));
    board.answers.insert(post.to_owned(), down);
    assert!(matches!(board.off(), Ordered::Refused(_)));
    board.set(
        post,
        409,
        r#"{"error": {"@Message.ExtendedInfo": [{"Message": "Host is busy."}]}}"#,
    );
    assert!(matches!(board.off(), Ordered::Refused(why) if why.ends_with("(Host is busy.)")));
    board.set(post, 503, r#"{"error": {"message": "later"}}"#);
    assert!(matches!(board.off(), Ordered::Unknown(why) if why.ends_with("(later)")));
}

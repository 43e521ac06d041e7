//! For tests: takes an order without an answer for one that was refused, unless its setting `careful` is there. Its board
//! has a language of its own. When an order is taken and its setting `panics` is there, it panics.

use holdfast_extension::fencing::{Device, Fence, Ordered, Power};
use holdfast_extension::http::{self, Error};
use holdfast_extension::log;

const BOARD: &str = "outlet";

struct Outlet;

impl Fence for Outlet {
    fn off(device: &Device) -> Ordered {
        order(device, "off")
    }

    fn on(device: &Device) -> Ordered {
        order(device, "on")
    }

    fn status(device: &Device) -> Power {
        match http::get(BOARD, &format!("/outlet/{}", device.host)) {
            Ok(answer) if answer.body == "{\"on\":true}" => Power::On,
            Ok(answer) if answer.body == "{\"on\":false}" => Power::Off,
            Ok(answer) => Power::Unknown(format!("the outlet answers {}", answer.status)),
            Err(error) => Power::Unknown(error.words()),
        }
    }
}

fn order(device: &Device, to: &str) -> Ordered {
    log::info(&format!("switching {} {to}", device.host));
    let path = format!("/outlet/{}/{to}", device.host);
    match http::post(BOARD, &path, "{}") {
        Ok(answer) if (200..300).contains(&answer.status) => {
            assert!(device.setting("panics").is_none(), "as its settings say");
            Ordered::Accepted
        }
        Ok(answer) => Ordered::Refused(format!("the outlet answers {}", answer.status)),
        Err(error @ Error::Unanswered(_)) if device.setting("careful").is_some() => {
            Ordered::Unknown(error.words())
        }
        Err(error) => Ordered::Refused(error.words()),
    }
}

holdfast_extension::export_fence!(Outlet);

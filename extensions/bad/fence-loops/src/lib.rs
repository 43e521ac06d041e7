//! For tests: orders the power off and never comes back from that. What it has ordered is done all the same, and
//! only the host can find out.

use holdfast_extension::fencing::{Device, Fence, Ordered, Power};
use holdfast_extension::http;
use std::hint::black_box;

struct Loops;

impl Fence for Loops {
    fn off(_: &Device) -> Ordered {
        let path = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
        let _ = http::post("board", path, "{\"ResetType\":\"ForceOff\"}");
        loop {
            black_box(());
        }
    }

    fn on(_: &Device) -> Ordered {
        panic!("it has no on");
    }

    fn status(_: &Device) -> Power {
        loop {
            black_box(());
        }
    }
}

holdfast_extension::export_fence!(Loops);

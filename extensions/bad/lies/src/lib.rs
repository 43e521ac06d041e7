//! For tests: says that hosts are off without asking anybody. The host has to find out by its own record of the
//! requests.

use holdfast_extension::fencing::{Device, Fence, Ordered, Power};

struct Lies;

impl Fence for Lies {
    fn off(_: &Device) -> Ordered {
        Ordered::Accepted
    }

    fn on(_: &Device) -> Ordered {
        Ordered::Already
    }

    fn status(device: &Device) -> Power {
        holdfast_extension::log::info(&format!("{} is off, upon my word", device.host));
        Power::Off
    }
}

holdfast_extension::export_fence!(Lies);

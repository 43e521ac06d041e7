//! Components that are whole and not for this Holdfast: built ones in which an interface has another name. The names
//! are as long as those they replace, so that the binary stays one.

use super::guests::guest;

/// The component of a guest.
pub fn component(guest_name: &str) -> Vec<u8> {
    std::fs::read(guest(guest_name).join("component.wasm")).expect("a component")
}

/// The same with another name wherever this one stands.
pub fn renamed(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    assert_eq!(from.len(), to.len(), "the binary says how long a name is");
    let mut renamed = component.to_vec();
    let mut found = 0;
    let mut at = 0;
    while at + from.len() <= renamed.len() {
        if renamed[at..].starts_with(from) {
            renamed[at..at + to.len()].copy_from_slice(to);
            found += 1;
            at += to.len();
        } else {
            at += 1;
        }
    }
    assert!(found > 0, "it has no such name");
    renamed
}

//! What a leading manager waits for, in the log: once for each change.

use super::ctx::Ctx;
use super::manager::Manager;
use holdfast_model::plan::{Plan, Subject};
use std::collections::BTreeMap;

impl Manager {
    /// Says what is waited for when it changes, with the hosts that were refused. A change of those
    /// alone is not told.
    pub(super) fn tell(&mut self, ctx: &mut Ctx, made: &Plan) {
        let mut said = BTreeMap::new();
        for report in &made.reports {
            let refused: Vec<String> = report
                .refused
                .iter()
                .map(|(host, why)| format!("{host}: {why}"))
                .collect();
            let mut text = report.text.clone();
            if !refused.is_empty() {
                text = format!("{text} ({})", refused.join("; "));
            }
            let key = (report.step, report.subject.clone());
            let known = self.said.get(&key).map(|(known, _)| known);
            if known != Some(&report.text) {
                let about = about(&report.subject);
                ctx.log(&self.name, format!("waits: {about}{text}"));
            }
            said.insert(key, (report.text.clone(), text));
        }
        self.said = said;
    }
}

fn about(subject: &Subject) -> String {
    match subject {
        Subject::Cluster => String::new(),
        Subject::Host(host) => format!("{host}: "),
        Subject::Vm(vm) => format!("{vm}: "),
        Subject::Site(site) => format!("site {site}: "),
    }
}

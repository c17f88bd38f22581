//! What became of everybody in a run, and who is to be tried again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, FateRecord, NoteRecord};
use super::read::{Journal, State};
use crate::fleet::InstanceId;

/// Everybody whom the run meant to change, by id, and what became of them; none where the journal ends before it says.
pub fn fates(journal: &Journal) -> BTreeMap<&str, Option<&FateRecord>> {
    let mut fates: BTreeMap<&str, Option<&FateRecord>> = planned(journal).map(|id| (id, None)).collect();
    if let State::Ended(ending) = journal.state() {
        fates.extend(ending.instances.iter().map(|one| (one.id.as_str(), Some(&one.fate))));
        return fates;
    }
    for line in &journal.lines {
        if let Entry::Note { note: NoteRecord::Settled { id, fate }, .. } = &line.entry {
            // A later word counts: what converged may have been put back. Others than those of the plan were only named by a
            // command of an earlier run.
            fates.entry(id).and_modify(|known| *known = Some(fate));
        }
    }
    fates
}

/// The instances that the run meant to change and that did not end as its plan wants: they failed, were put back or never
/// started. Of a run that has not ended, everybody of whom its journal does not say that it converged.
pub fn to_retry(journal: &Journal) -> BTreeSet<InstanceId> {
    let open = fates(journal).into_iter().filter(|(_, fate)| *fate != Some(&FateRecord::Converged));
    open.filter_map(|(id, _)| InstanceId::parse(id).ok()).collect()
}

/// Everybody whom the plan of the run changes. Only ids are looked at, which every format of plans has in this place.
fn planned(journal: &Journal) -> impl Iterator<Item = &str> {
    let groups = journal.plan().and_then(|plan| plan["groups"].as_array()).into_iter().flatten();
    let instances = groups.flat_map(|group| group["instances"].as_array().into_iter().flatten());
    instances.filter_map(|instance| instance["id"].as_str())
}

//! What is said about pods, and done about those that are there: the webhook's notices and the healer become
//! announcements.

use std::sync::Arc;

use serde::Deserialize as _;
use tokio::sync::{mpsc, watch};

use super::App;
use crate::{
    analysis::Snapshot,
    kubernetes::{
        announcements::{About, Announcement, Announcements, Announcer, Repeat},
        healer::{Healer, Sources},
        lease::Leadership,
    },
    webhook::inject::OwnerNotice,
    world::Controller,
};

/// How many notices for owners of pods may wait to be looked at.
const NOTICES: usize = 1024;

impl App {
    /// Events on owners of pods and on namespaces.
    pub(super) fn start_announcer(
        &mut self,
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> Announcements {
        let (announcer, announcements) = Announcer::new(
            self.client.clone(),
            self.args.identity(),
            snapshots,
            &mut self.registry,
        );
        self.tasks
            .spawn("announcements", announcer.run(self.ending()));
        announcements
    }

    /// What the webhook has to say to owners of pods becomes announcements.
    pub(super) fn start_notices(
        &mut self,
        announcements: Announcements,
    ) -> mpsc::Sender<OwnerNotice> {
        let (sender, mut notices) = mpsc::channel(NOTICES);
        let ending = self.ending();
        let announcing = async move {
            let announce = async {
                while let Some(notice) = notices.recv().await {
                    announce(notice, &announcements);
                }
            };
            tokio::select! {
                () = ending => {}
                () = announce => {}
            }
        };
        self.tasks.spawn("notices of the webhook", announcing);
        sender
    }

    /// The look at the pods that are there.
    pub(super) fn start_healer(
        &mut self,
        sources: Sources,
        leadership: Leadership,
        announcements: Announcements,
    ) {
        let healer = Healer::new(
            self.asks_once.clone(),
            sources,
            leadership,
            announcements,
            self.args.eviction_limits(),
            &mut self.registry,
        );
        self.tasks.spawn("healer", healer.run(self.ending()));
    }
}

/// Says to the owner of a pod what surprises about it. A bare pod has none: its author sees the answer of the webhook.
fn announce(notice: OwnerNotice, announcements: &Announcements) {
    let Ok(controller) = Controller::deserialize(&notice.controller) else {
        return;
    };
    for surprise in notice.surprises {
        announcements.send(Announcement {
            about: About::Workload {
                namespace: notice.namespace.clone(),
                controller: controller.clone(),
            },
            warning: true,
            action: "Inject",
            reason: surprise.concern.as_str(),
            subject: surprise.text.clone(),
            text: surprise.text,
            repeat: Repeat::Hourly,
            anew: false,
        });
    }
}

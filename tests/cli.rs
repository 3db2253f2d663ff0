//! `outrigger` as people and CI run it: exit statuses, files beside a cluster.

mod analyze;

//! The product on the shared node, for every test that needs it.

use std::ops::Deref;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use outrigger_e2e::cluster::Node;
use outrigger_e2e::demo::{Screen, Stage, install};
use outrigger_e2e::images::local::{Local, build};
use outrigger_e2e::requires;

/// Held by all tests that count on the control plane, and alone by one that takes it away.
static CONTROL_PLANE: RwLock<()> = RwLock::new(());

/// The shared node with the control plane on it, which nobody takes away meanwhile.
pub struct Product<G> {
    stage: Stage<'static>,
    _control_plane: G,
}

impl<G> Deref for Product<G> {
    type Target = Stage<'static>;

    fn deref(&self) -> &Self::Target {
        &self.stage
    }
}

/// The product, beside other tests; or nothing where no node can run.
pub fn product() -> Option<Product<RwLockReadGuard<'static, ()>>> {
    let stage = stage()?;
    let guard = CONTROL_PLANE.read();
    Some(Product {
        stage,
        _control_plane: guard.unwrap_or_else(PoisonError::into_inner),
    })
}

/// The product without any other test beside; or nothing where no node can run.
pub fn product_alone() -> Option<Product<RwLockWriteGuard<'static, ()>>> {
    let stage = stage()?;
    let guard = CONTROL_PLANE.write();
    Some(Product {
        stage,
        _control_plane: guard.unwrap_or_else(PoisonError::into_inner),
    })
}

fn stage() -> Option<Stage<'static>> {
    static SCREEN: OnceLock<Screen> = OnceLock::new();
    static IMAGES: OnceLock<Local> = OnceLock::new();
    static STAGE: OnceLock<Stage<'static>> = OnceLock::new();
    requires::node().ok()?;
    let set_up = || {
        let screen = SCREEN.get_or_init(Screen::new);
        let images = IMAGES.get_or_init(|| build(screen).unwrap());
        let node = Node::shared(screen).unwrap();
        node.load_images(&images.archives).unwrap();
        let stage = Stage {
            node,
            images,
            screen,
        };
        install::control_plane(&stage).unwrap();
        stage
    };
    Some(*STAGE.get_or_init(set_up))
}

//! What a test does to a cluster: components that die, nodes that lose their cable or their power.

use anyhow::Result;

use super::{Component, Kubernetes};

impl Kubernetes {
    /// Kills a component (SIGKILL); it is started again at once.
    pub fn kill(&self, component: Component) -> Result<()> {
        self.part(component)?.kill();
        Ok(())
    }

    /// Kills a component and holds it down until [`Kubernetes::release`].
    pub fn hold(&self, component: Component) -> Result<()> {
        self.part(component)?.hold();
        Ok(())
    }

    /// Lets a component up again.
    pub fn release(&self, component: Component) -> Result<()> {
        self.part(component)?.release()
    }

    /// How often a component ended by itself: a test that killed nothing expects none.
    pub fn ends(&self, component: Component) -> Result<u32> {
        Ok(self.part(component)?.ends())
    }

    /// Pulls a node's cable: it reaches nobody and nobody reaches it; what runs there runs on.
    pub fn cut_off(&self, node: u8) -> Result<()> {
        self.node(node)?.switch(&self.hub, "down")
    }

    /// Plugs it in again.
    pub fn mend(&self, node: u8) -> Result<()> {
        self.node(node)?.switch(&self.hub, "up")
    }

    /// Takes the power from a node: everything on it ends at once, its disk stays.
    pub fn stop_node(&self, node: u8) -> Result<()> {
        self.node(node)?.cell().close();
        for component in Self::on_node(node) {
            self.part(component)?.hold();
        }
        Ok(())
    }

    /// Gives it power again, and does not wait for it to be ready.
    pub fn start_node(&self, node: u8) -> Result<()> {
        self.node(node)?.open(&self.hub)?;
        for component in Self::on_node(node) {
            self.part(component)?.release()?;
        }
        Ok(())
    }

    fn on_node(node: u8) -> [Component; 3] {
        [Component::Containerd(node), Component::Kubelet(node), Component::KubeProxy(node)]
    }
}

//! A set of three pods with volumes, in a namespace that allows nothing special, and what is asked of it.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};

use anyhow::{Context, Result, ensure};
use e2e::kubernetes::relay::Relay;
use e2e::kubernetes::{Kubernetes, images};

/// The namespace of all that is made here.
pub(crate) const NAMESPACE: &str = "bed";

/// How long pods, volumes and endpoints may take, on a machine that does other things too.
pub(crate) const SECONDS: u64 = 120;

/// What a pod needs to be admitted under restricted security.
const RESTRICTED: &str = "
      securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
      containers:
      - name: tools
        image: IMAGE
        imagePullPolicy: Never
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: { drop: [ALL] }
        volumeMounts: [{ name: data, mountPath: /data }]
";

const SET: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: bed
  labels: { pod-security.kubernetes.io/enforce: restricted }
---
apiVersion: v1
kind: Service
metadata: { name: set, namespace: bed }
spec: { clusterIP: None, selector: { app: set }, ports: [{ port: 7000 }] }
---
apiVersion: v1
kind: Service
metadata: { name: first, namespace: bed }
spec:
  selector: { statefulset.kubernetes.io/pod-name: set-0 }
  ports: [{ port: 7001, targetPort: 7000 }]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: set, namespace: bed }
spec: { maxUnavailable: 0, selector: { matchLabels: { app: set } } }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: set, namespace: bed }
spec:
  replicas: 3
  serviceName: set
  podManagementPolicy: Parallel
  updateStrategy: { type: OnDelete }
  selector: { matchLabels: { app: set } }
  volumeClaimTemplates:
  - metadata: { name: data }
    spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
  template:
    metadata: { labels: { app: set } }
    spec:
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - topologyKey: topology.kubernetes.io/zone
            labelSelector: { matchLabels: { app: set } }
";

const PODS: [&str; 3] = ["set-0", "set-1", "set-2"];

/// Makes the set and waits until its pods are ready.
pub(crate) fn create(cluster: &Kubernetes) -> Result<()> {
    cluster.apply(&format!("{}{}", SET.trim_end(), RESTRICTED.replace("IMAGE", images::TOOLS)))?;
    all_are_ready(cluster)
}

/// Waits until all three pods are ready.
pub(crate) fn all_are_ready(cluster: &Kubernetes) -> Result<()> {
    PODS.iter().try_for_each(|pod| is_ready(cluster, pod))
}

fn is_ready(cluster: &Kubernetes, pod: &str) -> Result<()> {
    cluster.wait(&format!("{pod} to be ready"), SECONDS, || {
        Ok(cluster.pod_is_ready(NAMESPACE, pod)?.then_some(()))
    })
}

fn in_pod(cluster: &Kubernetes, pod: &str, script: &str) -> Result<String> {
    cluster.exec(NAMESPACE, pod, &["sh", "-c", script])
}

/// A field of a pod, by its JSON path.
pub(crate) fn field(cluster: &Kubernetes, pod: &str, path: &str) -> Result<String> {
    let output = format!("jsonpath={{{path}}}");
    cluster.kubectl(&["get", "pod", "-n", NAMESPACE, pod, "-o", &output])
}

/// The pod that takes the place of one that had the unique id `before`.
pub(crate) fn successor(cluster: &Kubernetes, pod: &str, before: &str) -> Result<()> {
    cluster.wait(&format!("another {pod}"), SECONDS, || {
        let now = field(cluster, pod, ".metadata.uid")?;
        Ok((now != before && cluster.pod_is_ready(NAMESPACE, pod)?).then_some(()))
    })
}

pub(crate) fn volumes_outlive_pods(cluster: &Kubernetes) -> Result<()> {
    in_pod(cluster, "set-1", "id -u; echo kept >/data/note")?;
    let before = field(cluster, "set-1", ".metadata.uid")?;
    cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, "set-1", "--wait=false"])?;
    successor(cluster, "set-1", &before)?;
    let note = in_pod(cluster, "set-1", "cat /data/note")?;
    ensure!(note.trim() == "kept", "{note}");
    Ok(())
}

pub(crate) fn claims_grow(cluster: &Kubernetes) -> Result<()> {
    let size = || {
        let path = "jsonpath={.status.capacity.storage}";
        cluster.kubectl(&["get", "pvc", "-n", NAMESPACE, "data-set-1", "-o", path])
    };
    ensure!(cluster.grow_claims(NAMESPACE)? == 0 && size()? == "1Gi");
    let patch = "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"2Gi\"}}}}";
    cluster.kubectl(&["patch", "pvc", "-n", NAMESPACE, "data-set-1", "-p", patch])?;
    ensure!(size()? == "1Gi", "it grew by itself");
    ensure!(cluster.grow_claims(NAMESPACE)? == 1 && size()? == "2Gi", "{}", size()?);
    Ok(())
}

pub(crate) fn names_lead_to_pods(cluster: &Kubernetes) -> Result<()> {
    let address = field(cluster, "set-2", ".status.podIP")?;
    let name = "set-2.set.bed.svc.cluster.local";
    cluster.wait(&format!("{name} to be {address}"), SECONDS, || {
        let said = in_pod(cluster, "set-0", &format!("nslookup {name}"))?;
        Ok(said.lines().any(|line| line.ends_with(&address)).then_some(()))
    })
}

pub(crate) fn ports_lead_to_pods_and_services(cluster: &Kubernetes) -> Result<()> {
    let mut server = cluster.kubectl_command();
    server.args(["exec", "-n", NAMESPACE, "set-0", "--", "nc", "-ll", "-p", "7000", "-e", "cat"]);
    let log = e2e::logs::file("kubernetes-bed-echo");
    let _server = e2e::process::Process::spawn("echo", &mut server, &log)?;
    let address = field(cluster, "set-0", ".status.podIP")?;
    let address = address.parse().context("the address of a pod")?;
    let pod = cluster.forward(SocketAddrV4::new(address, 7000))?;
    echoes(cluster, "an echo from a pod", &pod)?;
    let service = cluster.get(&["service", "-n", NAMESPACE, "first"])?;
    let address = service["spec"]["clusterIP"].as_str().context("the address of a service")?;
    let address = address.parse().context("the address of a service")?;
    let service = cluster.forward_from(2, SocketAddrV4::new(address, 7001))?;
    echoes(cluster, "an echo from a service", &service)
}

fn echoes(cluster: &Kubernetes, what: &str, relay: &Relay) -> Result<()> {
    cluster.wait(what, SECONDS, || {
        let mut stream = TcpStream::connect(relay.address())?;
        stream.write_all(b"there and back")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut back = String::new();
        stream.read_to_string(&mut back)?;
        Ok((back == "there and back").then_some(()))
    })
}

pub(crate) fn a_budget_refuses_and_allows(cluster: &Kubernetes) -> Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/set-0/eviction");
    let eviction = "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\
                    \"metadata\":{\"name\":\"set-0\",\"namespace\":\"bed\"}}";
    let evict =
        || cluster.kubectl_within(SECONDS, &["create", "--raw", &path, "-f", "-"], eviction);
    // Before the budget is known to its controller, all is refused as well.
    let refused = evict().err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("TooManyRequests"), "it was not refused: {refused}");
    let before = field(cluster, "set-0", ".metadata.uid")?;
    let looser = "{\"spec\":{\"maxUnavailable\":1}}";
    cluster.kubectl(&["patch", "pdb", "-n", NAMESPACE, "set", "--type=merge", "-p", looser])?;
    cluster.wait("the eviction to be allowed", SECONDS, || evict().map(Some))?;
    successor(cluster, "set-0", &before)
}

pub(crate) fn a_node_is_drained(cluster: &Kubernetes) -> Result<()> {
    let node = field(cluster, "set-2", ".spec.nodeName")?;
    let before = field(cluster, "set-2", ".metadata.uid")?;
    cluster.kubectl_within(SECONDS, &["drain", &node, "--ignore-daemonsets"], "")?;
    // Its place is in no other zone: it waits for the node.
    let phase = field(cluster, "set-2", ".status.phase")?;
    ensure!(phase == "Pending", "{phase}");
    cluster.kubectl(&["uncordon", &node])?;
    successor(cluster, "set-2", &before)
}

pub(crate) fn a_root_pod_is_refused(cluster: &Kubernetes) -> Result<()> {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: root, namespace: {NAMESPACE} }}\n\
         spec: {{ containers: [{{ name: root, image: {} }}] }}\n",
        images::TOOLS
    );
    let refused = cluster.apply(&pod).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("violates PodSecurity"), "it was not refused: {refused}");
    Ok(())
}

const ALLOWED: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, namespace: bed }
rules: [{ apiGroups: [''], resources: [pods], verbs: [list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reader, namespace: bed }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [{ kind: ServiceAccount, name: default, namespace: bed }]
";

/// From inside a pod, by the service of the API server.
pub(crate) fn an_account_may_do_what_it_is_allowed(cluster: &Kubernetes) -> Result<()> {
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let script = format!(
        "wget -qO- --no-check-certificate --header \"Authorization: Bearer $(cat {token})\" \
         https://kubernetes.default.svc.cluster.local/api/v1/namespaces/bed/pods 2>&1"
    );
    cluster.wait("the account to be refused", SECONDS, || {
        let said = in_pod(cluster, "set-0", &script).err().map(|error| format!("{error:#}"));
        let said = said.context("it was not refused")?;
        ensure!(said.contains("403"), "{said}");
        Ok(Some(()))
    })?;
    cluster.apply(ALLOWED)?;
    cluster.wait("the account to be allowed", SECONDS, || {
        Ok(in_pod(cluster, "set-0", &script)?.contains("PodList").then_some(()))
    })
}

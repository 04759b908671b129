package nodes

import (
	"slices"
	"strings"
)

// kubesprayRegistries are kubespray's variables for whole registries.
var kubesprayRegistries = []struct{ host, variable string }{
	{"registry.k8s.io", "kube_image_repo"},
	{"gcr.io", "gcr_image_repo"},
	{"docker.io", "docker_image_repo"},
	{"quay.io", "quay_image_repo"},
	{"ghcr.io", "github_image_repo"},
}

// kubesprayImages are kubespray's variables for single repositories, and what they are without settings. From
// roles/kubespray_defaults/defaults/main/download.yml of kubespray 2.28.
var kubesprayImages = map[string]string{
	"registry.k8s.io/kube-proxy":                                                "kube_proxy_image_repo",
	"registry.k8s.io/pause":                                                     "pod_infra_image_repo",
	"registry.k8s.io/coredns/coredns":                                           "coredns_image_repo",
	"registry.k8s.io/dns/k8s-dns-node-cache":                                    "nodelocaldns_image_repo",
	"registry.k8s.io/cpa/cluster-proportional-autoscaler":                       "dnsautoscaler_image_repo",
	"registry.k8s.io/metrics-server/metrics-server":                             "metrics_server_image_repo",
	"registry.k8s.io/nfd/node-feature-discovery":                                "node_feature_discovery_image_repo",
	"registry.k8s.io/ingress-nginx/controller":                                  "ingress_nginx_controller_image_repo",
	"registry.k8s.io/ingress-nginx/opentelemetry":                               "ingress_nginx_opentelemetry_image_repo",
	"registry.k8s.io/ingress-nginx/kube-webhook-certgen":                        "ingress_nginx_kube_webhook_certgen_image_repo",
	"registry.k8s.io/provider-os/openstack-cloud-controller-manager":            "external_openstack_cloud_controller_image_repo",
	"registry.k8s.io/provider-os/cinder-csi-plugin":                             "cinder_csi_plugin_image_repo",
	"registry.k8s.io/cloud-provider-gcp/gcp-compute-persistent-disk-csi-driver": "gcp_pd_csi_plugin_image_repo",
	"registry.k8s.io/scheduler-plugins/controller":                              "scheduler_plugins_controller_image_repo",
	"registry.k8s.io/scheduler-plugins/kube-scheduler":                          "scheduler_plugins_scheduler_image_repo",
	"registry.k8s.io/sig-storage/csi-attacher":                                  "csi_attacher_image_repo",
	"registry.k8s.io/sig-storage/csi-provisioner":                               "csi_provisioner_image_repo",
	"registry.k8s.io/sig-storage/csi-snapshotter":                               "csi_snapshotter_image_repo",
	"registry.k8s.io/sig-storage/csi-resizer":                                   "csi_resizer_image_repo",
	"registry.k8s.io/sig-storage/csi-node-driver-registrar":                     "csi_node_driver_registrar_image_repo",
	"registry.k8s.io/sig-storage/livenessprobe":                                 "csi_livenessprobe_image_repo",
	"registry.k8s.io/sig-storage/snapshot-controller":                           "snapshot_controller_image_repo",
	"registry.k8s.io/sig-storage/local-volume-provisioner":                      "local_volume_provisioner_image_repo",
	"quay.io/coreos/etcd":                                                       "etcd_image_repo",
	"quay.io/calico/node":                                                       "calico_node_image_repo",
	"quay.io/calico/cni":                                                        "calico_cni_image_repo",
	"quay.io/calico/kube-controllers":                                           "calico_policy_image_repo",
	"quay.io/calico/typha":                                                      "calico_typha_image_repo",
	"quay.io/calico/apiserver":                                                  "calico_apiserver_image_repo",
	"quay.io/cilium/cilium":                                                     "cilium_image_repo",
	"quay.io/cilium/operator":                                                   "cilium_operator_image_repo",
	"quay.io/cilium/hubble-relay":                                               "cilium_hubble_relay_image_repo",
	"quay.io/cilium/certgen":                                                    "cilium_hubble_certgen_image_repo",
	"quay.io/cilium/hubble-ui":                                                  "cilium_hubble_ui_image_repo",
	"quay.io/cilium/hubble-ui-backend":                                          "cilium_hubble_ui_backend_image_repo",
	"quay.io/cilium/cilium-envoy":                                               "cilium_hubble_envoy_image_repo",
	"quay.io/jetstack/cert-manager-controller":                                  "cert_manager_controller_image_repo",
	"quay.io/jetstack/cert-manager-cainjector":                                  "cert_manager_cainjector_image_repo",
	"quay.io/jetstack/cert-manager-webhook":                                     "cert_manager_webhook_image_repo",
	"quay.io/metallb/speaker":                                                   "metallb_speaker_image_repo",
	"quay.io/metallb/controller":                                                "metallb_controller_image_repo",
	"docker.io/flannel/flannel":                                                 "flannel_image_repo",
	"docker.io/flannel/flannel-cni-plugin":                                      "flannel_init_image_repo",
	"docker.io/mirantis/k8s-netchecker-agent":                                   "netcheck_agent_image_repo",
	"docker.io/mirantis/k8s-netchecker-server":                                  "netcheck_server_image_repo",
	"docker.io/kubeovn/kube-ovn":                                                "kube_ovn_container_image_repo",
	"docker.io/kubeovn/vpc-nat-gateway":                                         "kube_ovn_vpc_container_image_repo",
	"docker.io/kubeovn/kube-ovn-dpdk":                                           "kube_ovn_dpdk_container_image_repo",
	"docker.io/cloudnativelabs/kube-router":                                     "kube_router_image_repo",
	"docker.io/library/nginx":                                                   "nginx_image_repo",
	"docker.io/library/haproxy":                                                 "haproxy_image_repo",
	"docker.io/library/registry":                                                "registry_image_repo",
	"docker.io/rancher/local-path-provisioner":                                  "local_path_provisioner_image_repo",
	"docker.io/amazon/aws-alb-ingress-controller":                               "alb_ingress_image_repo",
	"docker.io/amazon/aws-ebs-csi-driver":                                       "aws_ebs_csi_plugin_image_repo",
	"docker.io/kubernetesui/dashboard":                                          "dashboard_image_repo",
	"docker.io/kubernetesui/metrics-scraper":                                    "dashboard_metrics_scraper_repo",
	"ghcr.io/k8snetworkplumbingwg/multus-cni":                                   "multus_image_repo",
	"ghcr.io/kube-vip/kube-vip":                                                 "kube_vip_image_repo",
}

// kubesprayKubeadm are the images whose names kubeadm makes, from the variable kubeadm_image_repo.
var kubesprayKubeadm = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"}

// kubespray writes a file for the inventory.
func (w *writer) kubespray() {
	_, images := w.hosts()
	lines := []string{"registry_host: " + quoted(w.registry.Host)}
	for _, r := range kubesprayRegistries {
		if len(images[r.host]) > 0 {
			lines = append(lines, w.kubesprayRegistry(r.host, r.variable, images[r.host])...)
		}
	}
	lines = append(lines, "", "# For images that manifests name themselves.", "containerd_registries_mirrors:")
	lines = append(lines, w.kubesprayMirrors(images)...)
	lines = append(lines, "",
		"# containerd_registry_auth:", "#   - registry: "+quoted(w.registry.Host), "#     username: USER", "#     password: PASSWORD")
	if w.registry.CA != nil {
		lines = append(lines, "", "# The nodes have to trust the registry's authority, "+caName+", as a whole.")
	}
	w.add("kubespray/ferry.yml", "group_vars/all/ferry.yml in the inventory", lines)
	w.addCA("kubespray/"+caName, "the nodes' own store of authorities")
}

// kubesprayRegistry returns the variables for the images of one registry, and notes those that have none.
func (w *writer) kubesprayRegistry(host, variable string, images []Image) []string {
	common := ""
	if most := places(images, 1); len(most) > 0 {
		common = most[0]
	}
	at := func(path string) string { return strings.TrimSuffix(w.registry.Host+"/"+path, "/") }
	lines := []string{variable + ": " + quoted(at(common))}
	kubeadm := common
	paths := pathOfMost(images)
	if host == "registry.k8s.io" {
		if kubeadm = kubeadmPlace(paths, common); kubeadm != common {
			lines = append(lines, "kubeadm_image_repo: "+quoted(at(kubeadm)))
		}
	}
	told := map[string]bool{}
	for _, img := range images {
		repository, path := img.Source.Repository.String(), paths[img.Source.Path]
		if name := kubesprayImages[repository]; name != "" && path != "" {
			if path != prefixed(common, img.Source.Path) && !told[name] {
				told[name] = true
				lines = append(lines, name+": "+quoted(at(path)))
			}
		} else if host == "registry.k8s.io" && slices.Contains(kubesprayKubeadm, img.Source.Path) {
			path = prefixed(kubeadm, img.Source.Path)
		} else {
			path = prefixed(common, img.Source.Path)
		}
		w.leaveUnless(slices.Contains(img.paths(), path), img, "kubespray has no variable for it")
	}
	return lines
}

// kubeadmPlace returns the prefix that all of kubeadm's images have, or common.
func kubeadmPlace(paths map[string]string, common string) string {
	place, found := common, false
	for _, name := range kubesprayKubeadm {
		prefix, ok := strings.CutSuffix("/"+paths[name], "/"+name)
		switch prefix = strings.TrimPrefix(prefix, "/"); {
		case paths[name] == "":
		case !ok || found && prefix != place:
			return common
		default:
			place, found = prefix, true
		}
	}
	return place
}

// kubesprayMirrors returns what makes kubespray write containerd's hosts.toml for all registries, and for the new one.
func (w *writer) kubesprayMirrors(images map[string][]Image) []string {
	var lines []string
	add := func(host string, prefixes []string) {
		lines = append(lines, "  - prefix: "+quoted(host), "    server: "+quoted(w.place(prefixes[len(prefixes)-1])), "    mirrors:")
		for _, p := range prefixes {
			lines = append(lines, "      - host: "+quoted(w.place(p)), `        capabilities: ["pull", "resolve"]`)
			if w.registry.SkipVerify {
				lines = append(lines, "        skip_verify: true")
			}
			if p != "" {
				lines = append(lines, "        override_path: true")
			}
		}
	}
	hosts, _ := w.hosts()
	for _, host := range hosts {
		prefixes := places(images[host], maxPlaces)
		if w.registry.Serve || len(prefixes) == 0 {
			prefixes = []string{""}
		}
		add(host, prefixes)
	}
	if len(images[w.registry.Host]) == 0 {
		add(w.registry.Host, []string{""})
	}
	return lines
}

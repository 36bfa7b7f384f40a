//! Trees of kustomizations for the test against the real kustomize, made from a number: a base with several
//! kinds, up to two overlays on it, and a component, with every feature that tars renders. Everything is
//! written as JSON, which is YAML.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// Files of the tree with this number.
pub fn generated_trees(seed: u64) -> BTreeMap<String, String> {
    let mut tree = Tree { dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1), files: BTreeMap::new() };
    tree.base();
    let mut below = "base";
    if tree.dice.one_in(2) {
        tree.overlay("mid", below);
        below = "mid";
    }
    tree.overlay("prod", below);
    tree.files
}

/// A xorshift generator (Marsaglia 2003): the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}

struct Tree {
    dice: Dice,
    files: BTreeMap<String, String>,
}

impl Tree {
    fn write(&mut self, path: &str, value: &Json) {
        self.files.insert(path.to_owned(), format!("{value:#}\n"));
    }

    fn pod(&mut self, name: &str) -> Json {
        let mut app = json!({"name": "app", "image": format!("registry.example:5000/{name}:1.0"),
            "env": [{"name": "MODE", "value": "a"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}},
                {"name": "CONF", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}]});
        if self.dice.one_in(2) {
            app["envFrom"] = json!([{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}]);
        }
        let mut containers = vec![app];
        if self.dice.one_in(2) {
            containers.push(json!({"name": "proxy", "image": "proxy@sha256:aa", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
        }
        json!({"serviceAccountName": "robot", "containers": containers,
            "initContainers": [{"name": "init", "image": "init"}],
            "volumes": [{"name": "v", "configMap": {"name": "settings"}}, {"name": "s", "secret": {"secretName": "keys"}}],
            "topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "host", "labelSelector": {"matchLabels": {"app": name}}}]}}})
    }

    fn workload(&mut self, kind: &str, name: &str) -> Json {
        let template = json!({"metadata": {"labels": {"app": name}, "annotations": {"note": "x"}}, "spec": self.pod(name)});
        let mut spec =
            json!({"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template});
        if kind == "StatefulSet" {
            spec["serviceName"] = json!("front");
            spec["volumeClaimTemplates"] =
                json!([{"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}]);
        }
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": {"app": name, "tier": "back"}}, "spec": spec})
    }

    fn base(&mut self) {
        let (api, db) = (self.workload("Deployment", "api"), self.workload("StatefulSet", "db"));
        let job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "night"},
            "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": self.pod("night")}}}}});
        self.write("base/api.yaml", &api);
        self.write("base/db.yaml", &db);
        self.write("base/night.yaml", &job);
        self.write(
            "base/more.yaml",
            &json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "listed"}, "data": {"a": "b"}}]}),
        );
        let small = [
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
                "spec": {"selector": {"app": "api"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
                "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}, "minReplicas": 1, "maxReplicas": 9}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}, "imagePullSecrets": [{"name": "keys"}]}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
                "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["settings"], "verbs": ["get"]}]}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reads"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}, {"kind": "ServiceAccount", "name": "default"}]}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "way"},
                "spec": {"tls": [{"secretName": "keys"}], "rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": "front", "port": {"number": 80}}}}]}}]}}),
            json!({"apiVersion": "example.com/v1", "kind": "Roll", "metadata": {"name": "roll"},
                "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "x", "image": "registry.example:5000/api:9"}]}}}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        ];
        let mut resources =
            vec!["api.yaml".to_owned(), "db.yaml".into(), "night.yaml".into(), "more.yaml".into()];
        for (at, object) in small.iter().enumerate() {
            let name = format!("small{at}.yaml");
            self.write(&format!("base/{name}"), object);
            resources.push(name);
        }
        self.files.insert("base/app.env".into(), "# settings\nA=1\n\nB=two words\nC\n".into());
        self.files.insert("base/page.html".into(), "<b>&amp; 'x' \"y\"</b>\n".into());
        let mut fields = json!({"resources": resources,
            "configMapGenerator": [{"name": "settings", "literals": ["k=v", "q='quoted'"], "files": ["page.html", "index=page.html"], "envs": ["app.env"]}],
            "secretGenerator": [{"name": "keys", "literals": ["k=s3cret", "long=0123456789012345678901234567890123456789012345678901234567890123456789"], "type": "Opaque"}]});
        match self.dice.roll(4) {
            0 => {
                fields["generatorOptions"] = json!({"disableNameSuffixHash": true, "labels": {"gen": "yes"}});
            }
            1 => fields["generatorOptions"] = json!({"annotations": {"gen": "yes"}, "immutable": true}),
            _ => {}
        }
        self.features(&mut fields, "base");
        self.write("base/kustomization.yaml", &fields);
    }

    fn overlay(&mut self, dir: &str, below: &str) {
        let mut fields = json!({"resources": [format!("../{below}")]});
        if self.dice.one_in(3) {
            let local = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("{dir}-extra"), "annotations": {
                "config.kubernetes.io/local-config": if self.dice.one_in(2) { "true" } else { "false" }}},
                "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "extra:1"}]}}}});
            self.write(&format!("{dir}/extra.yaml"), &local);
            fields["resources"] = json!([format!("../{below}"), "extra.yaml"]);
        }
        if self.dice.one_in(3) {
            let behavior = self.dice.pick(&["merge", "replace"]);
            fields["configMapGenerator"] = json!([{"name": "settings", "behavior": behavior, "literals": ["k=changed", format!("{dir}=new")]}]);
        }
        if self.dice.one_in(3) {
            let component = format!("{dir}-component");
            let mut inner = json!({"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"});
            self.features(&mut inner, &component);
            inner["commonAnnotations"] = json!({"component": dir});
            self.write(&format!("{component}/kustomization.yaml"), &inner);
            fields["components"] = json!([format!("../{component}")]);
        }
        self.features(&mut fields, dir);
        self.write(&format!("{dir}/kustomization.yaml"), &fields);
    }

    /// Some of the transformers.
    fn features(&mut self, fields: &mut Json, dir: &str) {
        if self.dice.one_in(3) {
            fields["namePrefix"] = json!(format!("{}-", &dir[..1]));
        }
        if self.dice.one_in(4) {
            fields["nameSuffix"] = json!("-v2");
        }
        if self.dice.one_in(3) {
            fields["namespace"] = json!(self.dice.pick(&["shop", "store"]));
        }
        if self.dice.one_in(4) {
            fields["commonLabels"] = json!({"env": dir, "num": "7"});
        }
        if self.dice.one_in(3) {
            let mut label = json!({"pairs": {"team": dir}});
            match self.dice.roll(3) {
                0 => label["includeSelectors"] = json!(true),
                1 => label["includeTemplates"] = json!(true),
                _ => {}
            }
            fields["labels"] = json!([label]);
        }
        if self.dice.one_in(4) {
            fields["commonAnnotations"] = json!({"by": dir});
        }
        if self.dice.one_in(3) {
            let name = self.dice.pick(&["api", "db"]);
            fields["replicas"] = json!([{"name": name, "count": self.dice.roll(9)}]);
        }
        if self.dice.one_in(2) {
            let entries = [
                json!({"name": "registry.example:5000/api", "newTag": "2.0"}),
                json!({"name": "registry.example:5000/db", "newName": "other/db", "digest": "sha256:bb"}),
                json!({"name": "proxy", "newTag": "7"}),
                json!({"name": "init", "newName": "init2"}),
                json!({"name": "registry.example:5000/night", "tagSuffix": "-x"}),
                json!({"name": "extra", "newTag": "3", "digest": "sha256:cc"}),
            ];
            fields["images"] = json!([entries[self.dice.roll(6)], entries[self.dice.roll(6)]]);
        }
        self.patches(fields, dir);
        if self.dice.one_in(5) {
            fields["replacements"] = json!([{"source": {"kind": "Service", "fieldPath": "spec.ports.0.targetPort"},
                "targets": [{"select": {"kind": "Deployment", "name": "api"}, "fieldPaths": ["spec.template.metadata.annotations.note"]}]},
                {"source": {"kind": "Role"}, "targets": [{"select": {"kind": "StatefulSet"},
                    "fieldPaths": ["spec.template.spec.containers.[name=app].env.[name=MODE].value"]}]}]);
        }
    }

    fn patches(&mut self, fields: &mut Json, dir: &str) {
        let mut list = Vec::new();
        for at in 0..self.dice.roll(4) {
            let (kind, name) = *self.dice.pick(&[&("Deployment", "api"), &("StatefulSet", "db")]);
            let text = if self.dice.one_in(3) {
                let target = match self.dice.roll(3) {
                    0 => json!({"kind": kind, "name": name}),
                    1 => json!({"labelSelector": "tier in (back,front),app"}),
                    _ => json!({"kind": "Deployment|StatefulSet", "group": "apps"}),
                };
                list.push(json!({"target": target}));
                format!("{:#}", self.operations())
            } else {
                let mut patch = self.merge_patch();
                patch["apiVersion"] = json!("apps/v1");
                patch["kind"] = json!(kind);
                patch["metadata"]["name"] = json!(name);
                list.push(if self.dice.one_in(2) {
                    json!({"target": {"kind": kind, "name": "a.*|d.*"}})
                } else {
                    json!({})
                });
                format!("{patch:#}\n")
            };
            let entry = list.last_mut().unwrap();
            if self.dice.one_in(2) {
                entry["patch"] = json!(text);
            } else {
                let file = format!("patch{at}.yaml");
                entry["path"] = json!(file);
                self.files.insert(format!("{dir}/{file}"), text);
            }
        }
        if !list.is_empty() {
            fields["patches"] = json!(list);
        }
        if self.dice.one_in(4) {
            let mut patch = self.merge_patch();
            patch["apiVersion"] = json!("apps/v1");
            patch["kind"] = json!("Deployment");
            patch["metadata"]["name"] = json!("api");
            fields["patchesStrategicMerge"] = json!([format!("{patch:#}\n")]);
        }
        if self.dice.one_in(4) {
            fields["patchesJson6902"] = json!([{"target": {"group": "apps", "version": "v1", "kind": "Deployment", "name": "api"},
                "patch": format!("{:#}", self.operations())}]);
        }
        if self.dice.one_in(8) {
            let gone = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reads"}, "$patch": "delete"});
            if dir == "prod" {
                fields["patchesStrategicMerge"] = json!([format!("{gone:#}\n")]);
            }
        }
    }

    fn merge_patch(&mut self) -> Json {
        let container = match self.dice.roll(6) {
            0 => json!({"name": "app", "image": "registry.example:5000/api:5"}),
            1 => {
                json!({"name": "app", "env": [{"name": "NEW", "value": "1"}, {"name": "MODE", "value": "b"}]})
            }
            2 => json!({"name": "app", "env": [{"name": "MODE", "$patch": "delete"}]}),
            3 => {
                json!({"name": "app", "ports": [{"containerPort": 80, "protocol": "UDP", "name": "u"}, {"containerPort": 81, "protocol": "TCP"}]})
            }
            4 => json!({"name": "side", "image": "side:1", "args": ["a", "b"]}),
            _ => json!({"name": "app", "ports": [{"containerPort": 80, "name": "who"}]}),
        };
        let spec = match self.dice.roll(5) {
            0 => json!({"replicas": 5}),
            1 => json!({"template": {"metadata": {"annotations": {"note": null, "more": "y"}}}}),
            2 => json!({"template": {"metadata": {"labels": {"$patch": "replace", "app": "z"}}}}),
            3 => {
                json!({"template": {"spec": {"volumes": [{"name": "w", "emptyDir": {}}, {"name": "s", "$patch": "delete"}],
                "initContainers": [{"$patch": "replace"}, {"name": "only", "image": "only:1"}], "tolerations": [{"key": "a"}]}}})
            }
            _ => json!({"template": {"spec": {"containers": [container]}}}),
        };
        json!({"metadata": {"labels": {"patched": "yes"}, "finalizers": ["a/b"]}, "spec": spec})
    }

    fn operations(&mut self) -> Json {
        let all = [
            json!({"op": "replace", "path": "/spec/replicas", "value": 6}),
            json!({"op": "add", "path": "/metadata/annotations", "value": {"ops": "yes"}}),
            json!({"op": "add", "path": "/spec/template/spec/containers/0/args", "value": ["--x"]}),
            json!({"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "ops:1"}),
            json!({"op": "test", "path": "/spec/template/spec/containers/0/name", "value": "app"}),
            json!({"op": "copy", "from": "/spec/replicas", "path": "/spec/minReadySeconds"}),
            json!({"op": "move", "from": "/spec/template/spec/affinity", "path": "/spec/template/spec/moved"}),
            json!({"op": "remove", "path": "/spec/template/spec/volumes/0"}),
            json!({"op": "add", "path": "/spec/template/spec/volumes/-", "value": {"name": "last", "emptyDir": {}}}),
        ];
        json!([all[self.dice.roll(9)], all[self.dice.roll(9)]])
    }
}

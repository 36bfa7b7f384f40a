{{- define "tars.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Of what lies outside the release's namespace, where releases of one name meet. */}}
{{- define "tars.nameBeyond" -}}
{{ .Release.Namespace }}-{{ include "tars.name" . }}
{{- end }}

{{/* Two releases in one namespace each have a Lease. */}}
{{- define "tars.lease" -}}
{{ dig "cluster" "lease" "" .Values.settings | default (include "tars.name" .) }}
{{- end }}

{{- define "tars.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tars.labels" -}}
{{ include "tars.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tars.detector" -}}
{{- /* A pod's label has this and a hash, 63 characters at most. */ -}}
{{ include "tars.name" . | trunc 43 | trimSuffix "-" }}-detector
{{- end }}

{{/* The pods that decide and write: all of tars in one process, or the remediators. */}}
{{- define "tars.component" -}}
{{ ternary "reconciler" "remediator" .Values.singleProcess.enabled }}
{{- end }}

{{- define "tars.writer" -}}
{{ include "tars.name" . }}{{ if not .Values.singleProcess.enabled }}-remediator{{ end }}
{{- end }}

{{/* How many, and with what: of the pods that decide and write. */}}
{{- define "tars.size" -}}
{{ ternary .Values.singleProcess .Values.remediator .Values.singleProcess.enabled | toYaml }}
{{- end }}

{{- define "tars.pullPolicy" -}}
{{ .Values.image.pullPolicy | default (ternary "IfNotPresent" "Always" (not (empty .Values.image.digest))) }}
{{- end }}

{{- define "tars.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "tars.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "tars.detectorAccount" -}}
{{- if .Values.serviceAccount.create }}{{ printf "%s-detector" (include "tars.serviceAccount" .) }}{{ else }}default{{ end }}
{{- end }}

{{- define "tars.image" -}}
{{- $repository := required "image.repository: name where your build of charts/image/Dockerfile was pushed" .Values.image.repository }}
{{- if .Values.image.digest }}{{ printf "%s@%s" $repository .Values.image.digest }}{{ else }}{{ printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) }}{{ end }}
{{- end }}

{{- define "tars.inCluster" -}}
{{- if eq (dig "cluster" "access" "none" .Values.settings) "inCluster" }}true{{ end }}
{{- end }}

{{/* Does anything in the settings ask Prometheus? Policies may too; the chart does not see them. */}}
{{- define "tars.asksPrometheus" -}}
{{- range .Values.settings.signals }}{{ if eq (.source | default "prometheus") "prometheus" }}true{{ end }}{{ end }}
{{- if eq (dig "sync" "kind" "" .Values.settings) "metric" }}true{{ end }}
{{- end }}

{{/* Whom both kinds of pods read from, send to and hear, with the files of their Secrets. */}}
{{- define "tars.watching" -}}
{{- $watching := dict }}
{{- range $slot, $section := dict "prometheus" "prometheus" "loki" "loki" "jaeger" "jaeger" "remoteWrite" "remote_write" }}
{{- if index $.Values.secrets $slot }}
{{- $_ := set $watching $section (dict "bearer_token_file" (printf "/etc/tars/secrets/%s/token" $slot)) }}
{{- end }}
{{- end }}
{{- if .Values.secrets.push }}{{ $_ := set $watching "push" (dict "secret_file" "/etc/tars/secrets/push/secret") }}{{ end }}
{{- toYaml $watching }}
{{- end }}

{{/* Slots of the Secrets that a detector mounts. */}}
{{- define "tars.detectorSecrets" -}}
{{- range $slot := list "detectors" "prometheus" "loki" "jaeger" "push" "remoteWrite" }}
{{- if index $.Values.secrets $slot }}
- {{ $slot }}
{{- end }}
{{- end }}
{{- end }}

{{/* The settings file: what the chart knows, below what the user says. */}}
{{- define "tars.settings" -}}
{{- $at := "/etc/tars/secrets" }}
{{- $secrets := .Values.secrets }}
{{- $signing := dict "key_file" (printf "%s/signing/signing-key" $at) }}
{{- if not (dig "signing" "allowed_keys_file" "" .Values.settings) }}
{{- $_ := set $signing "allowed_signers_file" (printf "%s/signing/allowed_signers" $at) }}
{{- end }}
{{- $repository := dict "state_dir" "/var/lib/tars/state" }}
{{- if $secrets.git }}{{ $_ := set $repository "token_file" (printf "%s/git/token" $at) }}{{ end }}
{{- $settings := dict "listen" "0.0.0.0:8080" "log" (dict "format" "json") "repository" $repository "signing" $signing }}
{{- if include "tars.inCluster" . }}{{ $_ := set $settings "cluster" (dict "lease" (include "tars.lease" .)) }}{{ end }}
{{- $forge := dict }}
{{- if and $secrets.forge (dig "forge" "app" "id" "" .Values.settings) }}
{{- $_ := set $forge "app" (dict "private_key_file" (printf "%s/forge/private-key" $at)) }}
{{- else if $secrets.forge }}
{{- $_ := set $forge "token_file" (printf "%s/forge/token" $at) }}
{{- end }}
{{- if $secrets.forgeWebhook }}{{ $_ := set $forge "webhook_secret_file" (printf "%s/forgeWebhook/secret" $at) }}{{ end }}
{{- if $forge }}{{ $_ := set $settings "forge" $forge }}{{ end }}
{{- $webhook := ternary (dict "secret_file" (printf "%s/webhook/secret" $at)) (dict "enabled" false) (not (empty $secrets.webhook)) }}
{{- $_ := set $settings "webhook" $webhook }}
{{- $settings = merge $settings (include "tars.watching" . | fromYaml) }}
{{- if not .Values.singleProcess.enabled }}
{{- $urls := list }}
{{- range $ordinal := until (int .Values.detector.replicas) }}
{{- $pod := printf "%s-%d.%ss.%s.svc" (include "tars.detector" $) $ordinal (include "tars.detector" $) $.Release.Namespace }}
{{- $urls = append $urls (printf "http://%s:8080" $pod) }}
{{- end }}
{{- $_ := set $settings "role" "remediator" }}
{{- $_ := set $settings "detectors" (dict "urls" $urls "secret_file" (printf "%s/detectors/secret" $at)) }}
{{- end }}
{{- if $secrets.age }}{{ $_ := set $settings "sops" (dict "age_key_files" (list (printf "%s/age/identities" $at))) }}{{ end }}
{{- $_ := required "settings.repository.url: the GitOps repository" (dig "repository" "url" "" .Values.settings) }}
{{- if include "tars.asksPrometheus" . }}
{{- $_ := required "settings.prometheus.url: a signal without another source, or sync.kind, asks it" (dig "prometheus" "url" "" .Values.settings) }}
{{- end }}
{{- $settings := mustMergeOverwrite $settings (deepCopy .Values.settings) }}
{{- range $key := list "role" "shard" "detectors" }}
{{- if hasKey $.Values.settings $key }}{{ fail (printf "settings.%s: the chart says it, by detector, remediator and singleProcess" $key) }}{{ end }}
{{- end }}
{{- if not (hasSuffix ":8080" $settings.listen) }}{{ fail "settings.listen: the chart's port is 8080" }}{{ end }}
{{- toYaml $settings }}
{{- end }}

{{/* The settings file of a detector: of what the user says that which concerns watching, and nothing about git or keys. */}}
{{- define "tars.detectorSettings" -}}
{{- $at := "/etc/tars/secrets" }}
{{- $_ := required "secrets.detectors: the Secret with which remediators ask detectors; or singleProcess.enabled: true" .Values.secrets.detectors }}
{{- $shard := dict "total" (int .Values.detector.replicas) "secret_file" (printf "%s/detectors/secret" $at) "state_dir" "/var/lib/tars/state" }}
{{- $settings := dict "role" "detector" "shard" $shard "listen" "0.0.0.0:8080" "log" (dict "format" "json") }}
{{- $settings = merge $settings (include "tars.watching" . | fromYaml) }}
{{- $said := pick .Values.settings "prometheus" "loki" "jaeger" "push" "detection" "signals" "tick" "pushgateway" "remote_write" "log" "clock" "listen" }}
{{- toYaml (mustMergeOverwrite $settings (deepCopy $said)) }}
{{- end }}

{{/* What all pods, and that of `helm test`, have in common. */}}
{{- define "tars.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tars.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tars.mounts" -}}
- {name: settings, mountPath: /etc/tars/settings, readOnly: true}
- {name: state, mountPath: /var/lib/tars}
- {name: tmp, mountPath: /tmp}
{{- range $slot, $name := .Values.secrets }}
{{- if and $name (or (ne $slot "detectors") (not $.Values.singleProcess.enabled)) }}
- {name: {{ printf "secret-%s" (lower $slot) }}, mountPath: /etc/tars/secrets/{{ $slot }}, readOnly: true}
{{- end }}
{{- end }}
{{- if include "tars.inCluster" . }}
- {name: cluster, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}
{{- end }}

{{- define "tars.volumes" -}}
- name: settings
  configMap: {name: {{ include "tars.name" . }}-settings}
- name: state
  emptyDir: {sizeLimit: {{ .Values.state.sizeLimit }}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- range $slot, $name := .Values.secrets }}
{{- if and $name (or (ne $slot "detectors") (not $.Values.singleProcess.enabled)) }}
- name: {{ printf "secret-%s" (lower $slot) }}
  secret: {secretName: {{ $name }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- if include "tars.inCluster" . }}
- name: cluster
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
{{- end }}
{{- end }}

{{/* Who may reach the port of these pods. In: root, names of the rules of the values, more rules. */}}
{{- define "tars.ingress" -}}
{{- $port := list (dict "port" "http" "protocol" "TCP") }}
{{- $rules := list }}
{{- range $name, $rule := .root.Values.networkPolicy.ingress }}
{{- if and $rule.from (not (has $name $.without)) }}{{ $rules = append $rules (dict "from" $rule.from "ports" $port) }}{{ end }}
{{- end }}
{{- range .more }}{{ $rules = append $rules (dict "from" (list .) "ports" $port) }}{{ end }}
{{- toYaml $rules }}
{{- end }}

{{/* Whom these pods may reach. In: root, names of the rules of the values that are not theirs, more peers on the port of tars. */}}
{{- define "tars.egress" -}}
{{- $rules := list }}
{{- range $name, $rule := .root.Values.networkPolicy.egress }}
{{- if and $rule.to (not (has $name $.without)) }}
{{- $ports := list }}
{{- range $rule.ports }}{{ $ports = append $ports (dict "port" .port "protocol" (.protocol | default "TCP")) }}{{ end }}
{{- $rules = append $rules (dict "to" $rule.to "ports" $ports) }}
{{- end }}
{{- end }}
{{- range .more }}{{ $rules = append $rules (dict "to" (list .) "ports" (list (dict "port" 8080 "protocol" "TCP"))) }}{{ end }}
{{- toYaml $rules }}
{{- end }}

{{/* Where pods go. In: root, component. */}}
{{- define "tars.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "tars.selector" .root | nindent 14 }}
              app.kubernetes.io/component: {{ .component }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "tars.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
{{- end }}

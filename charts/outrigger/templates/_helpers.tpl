{{/* The value V of the label istio.io/rev that chooses this control plane. */}}
{{- define "outrigger.rev" -}}
{{ .Values.revision | default "default" }}
{{- end }}

{{/* "-REV", or nothing for the default revision: the end of every name that two control planes must not share. */}}
{{- define "outrigger.suffix" -}}
{{- with .Values.revision }}-{{ . }}{{ end }}
{{- end }}

{{/* Deployment, Service and ServiceAccount. */}}
{{- define "outrigger.name" -}}
outriggerd{{ include "outrigger.suffix" . }}
{{- end }}

{{/* Cluster-wide RBAC objects: unique over namespaces as well. */}}
{{- define "outrigger.clusterName" -}}
{{ include "outrigger.name" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "outrigger.injectorName" -}}
outrigger-sidecar-injector{{ include "outrigger.suffix" . }}
{{- end }}

{{- define "outrigger.validatorName" -}}
outrigger-validator{{ include "outrigger.suffix" . }}
{{- end }}

{{- define "outrigger.selectorLabels" -}}
app: outriggerd
istio.io/rev: {{ include "outrigger.rev" . }}
{{- end }}

{{- define "outrigger.labels" -}}
{{ include "outrigger.selectorLabels" . }}
app.kubernetes.io/name: outriggerd
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: outrigger
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Settings of the control plane's pods: the top level, and over it whatever an older values file puts under `pilot`. */}}
{{- define "outrigger.settings" -}}
{{ mergeOverwrite (deepCopy .Values) (deepCopy (.Values.pilot | default dict)) | toYaml }}
{{- end }}

{{/* The image of the control plane; takes the merged settings and the chart. */}}
{{- define "outrigger.image" -}}
{{- $settings := .settings -}}
{{- if contains "/" $settings.image -}}
{{ $settings.image }}
{{- else -}}
{{ $settings.hub | default $settings.global.hub }}/{{ $settings.image }}:{{ $settings.tag | default $settings.global.tag | default .chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The level of the scope `default` in Istio's list of scopes and levels, else `info`. */}}
{{- define "outrigger.logLevel" -}}
{{- $level := "info" -}}
{{- range splitList "," .Values.global.logging.level -}}
{{- $pair := splitList ":" (trim .) -}}
{{- if and (eq (len $pair) 2) (has (first $pair) (list "default" "all")) -}}
{{- $level = last $pair -}}
{{- else if and (eq (len $pair) 1) (first $pair) -}}
{{- $level = first $pair -}}
{{- end -}}
{{- end -}}
{{ get (dict "none" "off" "fatal" "error" "warning" "warn") $level | default $level }}
{{- end }}

{{/* The namespaces whose Secrets are read as credentials of Gateways, as JSON; "." is the release's own, and
`--set …={}` says one empty name. */}}
{{- define "outrigger.credentialNamespaces" -}}
{{- $namespaces := list -}}
{{- range compact (.Values.gateways.credentialNamespaces | default list) -}}
{{- $namespaces = append $namespaces (ternary $.Release.Namespace . (eq . ".")) -}}
{{- end -}}
{{- $namespaces | uniq | toJson -}}
{{- end }}

{{/* What every pod of the control plane's image runs as: nobody, with a file system that it can't write. */}}
{{- define "outrigger.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "outrigger.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The environment in which the program finds the pod's name and namespace. */}}
{{- define "outrigger.podIdentity" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}

{{- define "gateway.name" -}}
{{ .Values.name | default .Release.Name }}
{{- end }}

{{- define "gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "gateway.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* What the Service selects, and what Gateway objects are expected to select. */}}
{{- define "gateway.selectorLabels" -}}
app: {{ .Values.labels.app | default (include "gateway.name" .) | quote }}
istio: {{ .Values.labels.istio | default (include "gateway.name" . | trimPrefix "istio-") | quote }}
{{- end }}

{{/* Labels of the objects and pods: the user's win, except for those that make a Helm release. */}}
{{- define "gateway.labels" -}}
{{- $ours := dict
  "istio.io/rev" (.Values.revision | default "default")
  "app.kubernetes.io/name" (include "gateway.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "outrigger" }}
{{- $release := dict
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (print .Chart.Name "-" .Chart.Version) }}
{{- $labels := mergeOverwrite $ours .Values.labels (include "gateway.selectorLabels" . | fromYaml) $release }}
{{- range $index, $key := keys $labels | sortAlpha }}
{{- if $index }}{{ "\n" }}{{ end }}{{ $key }}: {{ get $labels $key | quote }}
{{- end }}
{{- end }}

{{- define "gateway.image" -}}
{{- $global := .Values.global -}}
{{- if contains "/" $global.proxy.image -}}
{{ $global.proxy.image }}
{{- else -}}
{{ $global.hub }}/{{ $global.proxy.image }}:{{ $global.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

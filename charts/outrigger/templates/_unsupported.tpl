{{/*
Refuses what would keep every injected pod from starting: without a CNI plugin, which no chart of ours installs, capture
is never in place, and the container that checks it fails.
*/}}
{{- define "outrigger.refuseUnsupported" -}}
{{- $settings := include "outrigger.settings" . | fromYaml -}}
{{- if ($settings.cni | default dict).enabled }}{{ fail "cni.enabled: capture by a CNI plugin is not supported yet, and no injected pod would start with it" }}{{ end -}}
{{- end }}

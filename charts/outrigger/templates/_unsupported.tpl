{{/*
Refuses settings of capture that the agent does not know how to apply: its init container would fail in every pod.
*/}}
{{- define "outrigger.refuseUnsupported" -}}
{{- $settings := include "outrigger.settings" . | fromYaml -}}
{{- $why := "is not supported yet, and no injected pod would start with it" -}}
{{- if ($settings.cni | default dict).enabled }}{{ fail (print "cni.enabled: capture by a CNI plugin " $why) }}{{ end -}}
{{- if .Values.global.nativeNftables }}{{ fail (print "global.nativeNftables: capture with nftables " $why) }}{{ end -}}
{{- $proxy := (.Values.meshConfig | default dict).defaultConfig | default dict -}}
{{- if eq (toString $proxy.interceptionMode) "TPROXY" }}{{ fail (print "meshConfig.defaultConfig.interceptionMode: TPROXY " $why) }}{{ end -}}
{{- end }}

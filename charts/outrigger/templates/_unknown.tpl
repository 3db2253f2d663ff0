{{/*
The paths of values that nothing reads, one a line. Takes `values`, `path` (of those values, with a dot at the end, or
"") and `known` (dotted paths; what lies below a known one is known).
*/}}
{{- define "outrigger.unknownValues" -}}
{{- $known := .known -}}
{{- $path := .path -}}
{{- range $key, $value := .values -}}
{{- $here := print $path $key -}}
{{- $below := false -}}
{{- range $known -}}{{- if hasPrefix (print $here ".") . -}}{{- $below = true -}}{{- end -}}{{- end -}}
{{- if has $here $known -}}
{{- else if and $below (kindIs "map" $value) -}}
{{ include "outrigger.unknownValues" (dict "values" $value "path" (print $here ".") "known" $known) }}
{{- else if and $below (kindIs "invalid" $value) -}}
{{- else }}
{{ $here }}
{{- end -}}
{{- end -}}
{{- end }}

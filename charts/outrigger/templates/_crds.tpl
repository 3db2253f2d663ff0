{{/*
Who owns a CRD of ours on the cluster, as one word: `nobody` (it is not there), `release` (this release), or the name of
somebody else. Without a cluster (helm template) it is `nobody`.
*/}}
{{- define "outrigger.crdOwner" -}}
{{- $live := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" .name -}}
{{- if not $live -}}
nobody
{{- else -}}
{{- $annotations := $live.metadata.annotations | default dict -}}
{{- $name := get $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" -}}
{{- if and (eq $name .release.Name) (eq $namespace .release.Namespace) -}}
release
{{- else if $name -}}
the Helm release {{ $namespace }}/{{ $name }}
{{- else -}}
somebody else
{{- end -}}
{{- end -}}
{{- end }}

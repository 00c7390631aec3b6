{{- /* The rules of files/rights.yaml whose `where` is the given one. A dict: where, root. */ -}}
{{- define "ottla.rules" -}}
{{- $root := .root -}}
{{- $where := .where -}}
{{- range $right := $root.Files.Get "files/rights.yaml" | fromYamlArray }}
{{- if eq $right.where $where }}
- apiGroups: [{{ $right.group | quote }}]
  resources: [{{ $right.resource }}]
  {{- if $right.named }}
  resourceNames: [{{ $root.Values.lease.name }}]
  {{- end }}
  verbs: [{{ join ", " $right.verbs }}]
{{- end }}
{{- end }}
{{- end -}}

{{- /* Whom a binding is for. */ -}}
{{- define "ottla.subjects" -}}
- kind: ServiceAccount
  name: {{ include "ottla.account" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

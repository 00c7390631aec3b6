{{- /* The name of the Deployment, and of all that belongs to it. */ -}}
{{- define "ottla.fullname" -}}
{{- .Values.fullnameOverride | default (printf "%s-operator" (.Release.Name | trunc 54 | trimSuffix "-")) -}}
{{- end -}}

{{- define "ottla.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "ottla.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- /* What selects the pods. Brokers let in who has this name: it is the same in every release. */ -}}
{{- define "ottla.selector" -}}
app.kubernetes.io/name: ottla-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ottla.labels" -}}
{{ include "ottla.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: ottla
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "ottla.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

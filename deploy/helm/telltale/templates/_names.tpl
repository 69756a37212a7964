{{- define "telltale.name" -}}
{{- printf "%s-telltale" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- define "telltale.selector" -}}
app.kubernetes.io/name: telltale
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "telltale.labels" -}}
{{ include "telltale.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- define "telltale.config" -}}
{{- $fixed := dict "data" "/var/lib/telltale" "otlp" (dict "http" "0.0.0.0:4318" "grpc" "0.0.0.0:4317") "api" (dict "listen" "0.0.0.0:8686") -}}
{{- mustMergeOverwrite (deepCopy .Values.config) $fixed | toYaml -}}
{{- end -}}

{{/* Names. 53 characters leave room for the suffixes: names of Services and Jobs have at most 63. */}}
{{- define "aigen-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "aigen-bridge.fullname" -}}
{{- $name := include "aigen-bridge.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of a component's objects. Takes (list . "worker"). */}}
{{- define "aigen-bridge.component" -}}
{{- printf "%s-%s" (include "aigen-bridge.fullname" (first .)) (last .) -}}
{{- end -}}

{{- define "aigen-bridge.serviceAccount" -}}
{{- default (ternary (include "aigen-bridge.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* What selects the pods of a component. Never changes: a Deployment's selector cannot. Takes (list . "worker"). */}}
{{- define "aigen-bridge.selector" -}}
app.kubernetes.io/name: {{ include "aigen-bridge.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "aigen-bridge.labels" -}}
{{- $root := first . -}}
{{ include "aigen-bridge.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "aigen-bridge.metadata" -}}
name: {{ include "aigen-bridge.component" . }}
namespace: {{ (first .).Release.Namespace }}
labels:
  {{- include "aigen-bridge.labels" . | nindent 2 }}
{{- end -}}

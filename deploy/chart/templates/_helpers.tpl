{{- define "checklist-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "checklist-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "checklist-exporter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "checklist-exporter.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "checklist-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "checklist-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "checklist-exporter.labels" -}}
{{ include "checklist-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Another name than the exporter's own: its Service and its policies select by that. */ -}}
{{- define "checklist-exporter.canarySelectorLabels" -}}
app.kubernetes.io/name: {{ include "checklist-exporter.name" . | trunc 56 | trimSuffix "-" }}-canary
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "checklist-exporter.canaryLabels" -}}
{{ merge (include "checklist-exporter.canarySelectorLabels" . | fromYaml) (include "checklist-exporter.labels" . | fromYaml) | toYaml }}
{{- end -}}

{{- /* Roles are named with the namespace: two releases of one name may share a cluster. */ -}}
{{- define "checklist-exporter.roleName" -}}
{{- printf "%s-%s" .Release.Namespace (include "checklist-exporter.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "checklist-exporter.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- with $registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest -}}
@{{ .Values.image.digest }}
{{- else -}}
:{{ .Values.image.tag | default .Chart.AppVersion | replace "+" "_" }}
{{- end -}}
{{- end -}}

{{- define "checklist-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "checklist-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The Lease by which replicas elect the one that verifies: as configured, else named as the release is. */ -}}
{{- define "checklist-exporter.leaseName" -}}
{{- (.Values.config.leader_election | default dict).name | default (include "checklist-exporter.fullname" .) -}}
{{- end -}}

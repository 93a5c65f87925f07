// Original file: proto/switchyard/v1/resource.proto

import type { ClusterResource as _switchyard_v1_ClusterResource, ClusterResource__Output as _switchyard_v1_ClusterResource__Output } from '../../switchyard/v1/ClusterResource.js';
import type { EnvironmentResource as _switchyard_v1_EnvironmentResource, EnvironmentResource__Output as _switchyard_v1_EnvironmentResource__Output } from '../../switchyard/v1/EnvironmentResource.js';
import type { ProviderResource as _switchyard_v1_ProviderResource, ProviderResource__Output as _switchyard_v1_ProviderResource__Output } from '../../switchyard/v1/ProviderResource.js';
import type { ModelResource as _switchyard_v1_ModelResource, ModelResource__Output as _switchyard_v1_ModelResource__Output } from '../../switchyard/v1/ModelResource.js';
import type { RouteResource as _switchyard_v1_RouteResource, RouteResource__Output as _switchyard_v1_RouteResource__Output } from '../../switchyard/v1/RouteResource.js';
import type { ApiKeyResource as _switchyard_v1_ApiKeyResource, ApiKeyResource__Output as _switchyard_v1_ApiKeyResource__Output } from '../../switchyard/v1/ApiKeyResource.js';
import type { DenyResource as _switchyard_v1_DenyResource, DenyResource__Output as _switchyard_v1_DenyResource__Output } from '../../switchyard/v1/DenyResource.js';

export interface Resource {
  'cluster'?: (_switchyard_v1_ClusterResource | null);
  'environment'?: (_switchyard_v1_EnvironmentResource | null);
  'provider'?: (_switchyard_v1_ProviderResource | null);
  'model'?: (_switchyard_v1_ModelResource | null);
  'route'?: (_switchyard_v1_RouteResource | null);
  'apiKey'?: (_switchyard_v1_ApiKeyResource | null);
  'deny'?: (_switchyard_v1_DenyResource | null);
  'kind'?: "cluster"|"environment"|"provider"|"model"|"route"|"apiKey"|"deny";
}

export interface Resource__Output {
  'cluster'?: (_switchyard_v1_ClusterResource__Output | null);
  'environment'?: (_switchyard_v1_EnvironmentResource__Output | null);
  'provider'?: (_switchyard_v1_ProviderResource__Output | null);
  'model'?: (_switchyard_v1_ModelResource__Output | null);
  'route'?: (_switchyard_v1_RouteResource__Output | null);
  'apiKey'?: (_switchyard_v1_ApiKeyResource__Output | null);
  'deny'?: (_switchyard_v1_DenyResource__Output | null);
  'kind'?: "cluster"|"environment"|"provider"|"model"|"route"|"apiKey"|"deny";
}

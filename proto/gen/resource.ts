import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { ApiKeyResource as _switchyard_v1_ApiKeyResource, ApiKeyResource__Output as _switchyard_v1_ApiKeyResource__Output } from './switchyard/v1/ApiKeyResource.js';
import type { Breaker as _switchyard_v1_Breaker, Breaker__Output as _switchyard_v1_Breaker__Output } from './switchyard/v1/Breaker.js';
import type { CachePolicy as _switchyard_v1_CachePolicy, CachePolicy__Output as _switchyard_v1_CachePolicy__Output } from './switchyard/v1/CachePolicy.js';
import type { CachePurge as _switchyard_v1_CachePurge, CachePurge__Output as _switchyard_v1_CachePurge__Output } from './switchyard/v1/CachePurge.js';
import type { CacheTtl as _switchyard_v1_CacheTtl, CacheTtl__Output as _switchyard_v1_CacheTtl__Output } from './switchyard/v1/CacheTtl.js';
import type { Classifier as _switchyard_v1_Classifier, Classifier__Output as _switchyard_v1_Classifier__Output } from './switchyard/v1/Classifier.js';
import type { ClusterResource as _switchyard_v1_ClusterResource, ClusterResource__Output as _switchyard_v1_ClusterResource__Output } from './switchyard/v1/ClusterResource.js';
import type { DenyResource as _switchyard_v1_DenyResource, DenyResource__Output as _switchyard_v1_DenyResource__Output } from './switchyard/v1/DenyResource.js';
import type { EnvironmentResource as _switchyard_v1_EnvironmentResource, EnvironmentResource__Output as _switchyard_v1_EnvironmentResource__Output } from './switchyard/v1/EnvironmentResource.js';
import type { Hedging as _switchyard_v1_Hedging, Hedging__Output as _switchyard_v1_Hedging__Output } from './switchyard/v1/Hedging.js';
import type { HopDeadlines as _switchyard_v1_HopDeadlines, HopDeadlines__Output as _switchyard_v1_HopDeadlines__Output } from './switchyard/v1/HopDeadlines.js';
import type { LastResort as _switchyard_v1_LastResort, LastResort__Output as _switchyard_v1_LastResort__Output } from './switchyard/v1/LastResort.js';
import type { ModelResource as _switchyard_v1_ModelResource, ModelResource__Output as _switchyard_v1_ModelResource__Output } from './switchyard/v1/ModelResource.js';
import type { Price as _switchyard_v1_Price, Price__Output as _switchyard_v1_Price__Output } from './switchyard/v1/Price.js';
import type { ProviderResource as _switchyard_v1_ProviderResource, ProviderResource__Output as _switchyard_v1_ProviderResource__Output } from './switchyard/v1/ProviderResource.js';
import type { Resource as _switchyard_v1_Resource, Resource__Output as _switchyard_v1_Resource__Output } from './switchyard/v1/Resource.js';
import type { RouteResource as _switchyard_v1_RouteResource, RouteResource__Output as _switchyard_v1_RouteResource__Output } from './switchyard/v1/RouteResource.js';
import type { Rule as _switchyard_v1_Rule, Rule__Output as _switchyard_v1_Rule__Output } from './switchyard/v1/Rule.js';
import type { SemanticCache as _switchyard_v1_SemanticCache, SemanticCache__Output as _switchyard_v1_SemanticCache__Output } from './switchyard/v1/SemanticCache.js';
import type { Target as _switchyard_v1_Target, Target__Output as _switchyard_v1_Target__Output } from './switchyard/v1/Target.js';
import type { TargetParameters as _switchyard_v1_TargetParameters, TargetParameters__Output as _switchyard_v1_TargetParameters__Output } from './switchyard/v1/TargetParameters.js';
import type { WarmUp as _switchyard_v1_WarmUp, WarmUp__Output as _switchyard_v1_WarmUp__Output } from './switchyard/v1/WarmUp.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  switchyard: {
    v1: {
      ApiKeyResource: MessageTypeDefinition<_switchyard_v1_ApiKeyResource, _switchyard_v1_ApiKeyResource__Output>
      Breaker: MessageTypeDefinition<_switchyard_v1_Breaker, _switchyard_v1_Breaker__Output>
      CachePolicy: MessageTypeDefinition<_switchyard_v1_CachePolicy, _switchyard_v1_CachePolicy__Output>
      CachePurge: MessageTypeDefinition<_switchyard_v1_CachePurge, _switchyard_v1_CachePurge__Output>
      CacheTtl: MessageTypeDefinition<_switchyard_v1_CacheTtl, _switchyard_v1_CacheTtl__Output>
      Classifier: MessageTypeDefinition<_switchyard_v1_Classifier, _switchyard_v1_Classifier__Output>
      ClusterResource: MessageTypeDefinition<_switchyard_v1_ClusterResource, _switchyard_v1_ClusterResource__Output>
      DenyResource: MessageTypeDefinition<_switchyard_v1_DenyResource, _switchyard_v1_DenyResource__Output>
      EnvironmentResource: MessageTypeDefinition<_switchyard_v1_EnvironmentResource, _switchyard_v1_EnvironmentResource__Output>
      Hedging: MessageTypeDefinition<_switchyard_v1_Hedging, _switchyard_v1_Hedging__Output>
      HopDeadlines: MessageTypeDefinition<_switchyard_v1_HopDeadlines, _switchyard_v1_HopDeadlines__Output>
      LastResort: MessageTypeDefinition<_switchyard_v1_LastResort, _switchyard_v1_LastResort__Output>
      ModelResource: MessageTypeDefinition<_switchyard_v1_ModelResource, _switchyard_v1_ModelResource__Output>
      Price: MessageTypeDefinition<_switchyard_v1_Price, _switchyard_v1_Price__Output>
      ProviderResource: MessageTypeDefinition<_switchyard_v1_ProviderResource, _switchyard_v1_ProviderResource__Output>
      Resource: MessageTypeDefinition<_switchyard_v1_Resource, _switchyard_v1_Resource__Output>
      RouteResource: MessageTypeDefinition<_switchyard_v1_RouteResource, _switchyard_v1_RouteResource__Output>
      Rule: MessageTypeDefinition<_switchyard_v1_Rule, _switchyard_v1_Rule__Output>
      SemanticCache: MessageTypeDefinition<_switchyard_v1_SemanticCache, _switchyard_v1_SemanticCache__Output>
      Target: MessageTypeDefinition<_switchyard_v1_Target, _switchyard_v1_Target__Output>
      TargetParameters: MessageTypeDefinition<_switchyard_v1_TargetParameters, _switchyard_v1_TargetParameters__Output>
      WarmUp: MessageTypeDefinition<_switchyard_v1_WarmUp, _switchyard_v1_WarmUp__Output>
    }
  }
}

